"""What is learned on frozen features never depends on the targets of the test part.

Fine-tuning: ``test_chosen_epoch``. Leaving one out, folds of pairs: the tests of their protocols.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videossl.downstream import examples, features, tokens
from videossl.downstream.examples import Examples
from videossl.downstream.protocols import attentive, knn, linear, retrieval
from videossl.job import Job
from videossl.study import reads, schema

N, TRAINED = 60, 40
LABELS = np.arange(N) % 3
PARTS = {"1": ["train"] * TRAINED + ["test"] * (N - TRAINED)}


def several(labels: np.ndarray) -> list[dict[str, Any]]:
    found = [sorted({int(a), n % 2}) for n, a in enumerate(labels)]
    return [{"classes": classes, "frames": [[0, 9]] * len(classes)} for classes in found]


def job_of(folder: Path, targets: Any) -> Job:
    """Features and tokens of three classes, the same whatever the targets are."""
    rng = np.random.default_rng(0)
    x = (np.eye(4)[LABELS] + 0.6 * rng.normal(size=(N, 4))).astype(np.float32)
    found = Examples([f"v{k}" for k in range(N)], targets, ["a", "b", "c"], PARTS)
    folder.mkdir()
    features.save([x], found, folder)
    with tokens.writing(folder, N, "k") as writer:
        writer.write(x[:, None, None])
    examples.write(found, {}, folder)
    out = folder / "out"
    out.mkdir()
    key = {"row": "r", "test": "t", "protocol": "p", "seed": "0", "split": "1"}
    inputs = {"features": (folder,), "examples": (folder,)}
    return Job("evaluate", key, inputs, out, folder / "s", 1, {})


SOLVERS = {
    solver: schema.Linear(solver=solver, regularization=1.0, iterations=100)
    for solver in ("lbfgs", "batched")
}
ATTENTIVE = schema.Attentive(
    heads=2, rates=[1e-2, 1e-9], decays=[0.0], epochs=3, batch_size=16, validation=0.25
)
CASES = {
    "linear": (linear, SOLVERS["lbfgs"], np.array),
    "linear in batches": (linear, SOLVERS["batched"], np.array),
    "linear, several classes": (linear, SOLVERS["lbfgs"], several),
    "linear in batches, several classes": (linear, SOLVERS["batched"], several),
    "attentive": (attentive, ATTENTIVE, np.array),
    "knn": (knn, schema.KNN(neighbours=5, temperature=0.07), np.array),
    "retrieval": (retrieval, schema.Retrieval(topk=[1, 5]), np.array),
}


@pytest.mark.parametrize("case", CASES)
def test_targets_of_the_test_part_change_no_score(tmp_path, case):
    module, spec, targets = CASES[case]
    noise, trained = LABELS.copy(), LABELS.copy()
    noise[TRAINED:] = np.random.default_rng(1).permutation(noise[TRAINED:])
    trained[:5] = (trained[:5] + 1) % 3
    made = {}
    for name, labels in (("truth", LABELS), ("noise", noise), ("trained", trained)):
        job = job_of(tmp_path / name, targets(labels))
        module.run(job, reads.EvaluateParams(protocol=spec))
        stored = np.load(job.out / "predictions.npz")
        own = ("labels", "examples")
        made[name] = {k: v for k, v in stored.items() if k not in own and "value." not in k}
    assert {"scores", "neighbours"} & made["truth"].keys()
    for key, value in made["truth"].items():
        np.testing.assert_array_equal(value, made["noise"][key])
    assert any((value != made["trained"][key]).any() for key, value in made["truth"].items())


CHANCE = {  # protocol -> its parameters, predictions that look at nothing, what they are worth
    "linear": (linear, SOLVERS["lbfgs"], [0.0, 1.0, -1.0], {"top1": 1 / 3}),
    "knn": (knn, CASES["knn"][1], [0.0, 1.0, -1.0], {"top1": 1 / 3}),
    "attentive": (attentive, ATTENTIVE, [0.1, 0.2, 0.7], {"top1": 1 / 3}),
}


@pytest.mark.parametrize("name", CHANCE)
def test_a_constant_predictor_has_chance(name):
    module, spec, scores, wanted = CHANCE[name]
    made = {"labels": LABELS, "scores": np.tile(scores, (N, 1))}
    values, totals = module.measure(made, spec)
    found = {key: float(value.mean()) for key, value in values.items()} | totals
    assert found == pytest.approx(wanted)


def test_a_constant_gallery_and_constant_scores_of_several_classes_have_chance():
    made = {"labels": LABELS, "neighbour_labels": np.full((N, 5), 2)}
    values, _ = retrieval.measure(made, CASES["retrieval"][1])
    assert [float(value.mean()) for value in values.values()] == pytest.approx([1 / 3, 1 / 3])
    truth = examples.several_hot(several(LABELS), 3)
    _, totals = linear.measure({"labels": truth, "scores": np.ones((N, 3))}, SOLVERS["lbfgs"])
    assert totals["mAP"] == pytest.approx(truth.mean(axis=0).mean())
