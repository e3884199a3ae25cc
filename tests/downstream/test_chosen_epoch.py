"""Fine-tuning begins with the pretrained weights and writes those of the best epoch.

Nothing that it writes depends on the targets of the test part.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from support.specs import AUGMENT, COLOURS, PLAIN
from support.toy import Store
from videossl.downstream import examples, finetune
from videossl.downstream.objectives import classification, multi_label
from videossl.job import Job, UserError
from videossl.models import resnet3d, weights
from videossl.study import schema

MODEL = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
SCORES = [[0.2, -1.0], [0.9, -0.8], [0.9, -0.5], [0.5, -0.1]]  # the third epoch is best
PARTS = {"1": ["train"] * 5 + ["test"] * 3}
LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1])


class Named(Store):
    """Videos that are found by name."""

    def number(self, name: str) -> int:
        return int(name)


def inputs_of(folder: Path, targets, parts, seed: int = 0):
    """A job of the stage on eight videos, the block of its test, and the encoder."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    encoder = resnet3d.build(MODEL)
    for name in ("out", "weights", "examples"):
        (folder / name).mkdir(parents=True)
    weights.save(encoder, MODEL, folder / "weights" / "encoder.safetensors")
    table = examples.Examples([str(n) for n in range(8)], targets, ["a", "b"], parts)
    examples.write(table, {}, folder / "examples")
    spec = schema.Finetune.model_construct(
        data="toy",
        share=1.0,
        validation=0.25,
        clip=schema.Clip(frames=2, stride=1, size=16),
        sampling="window",
        epochs=len(SCORES),
        batch_size=2,
        precision="float32",
        dropout=0.0,
        head_lr=1.0,
        augment=AUGMENT,
        never_flipped=[],
    )
    inputs = {name: (folder / name,) for name in ("weights", "examples", "shards")}
    key = {"encoder": "toy", "test": "toy", "seed": "0", "split": "1"}
    job = Job("finetune", key, inputs, folder / "out", folder / "scratch", 1, {})
    return job, spec, encoder


def run(job: Job, spec: schema.Finetune, objective, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the stage on the videos of noise."""
    monkeypatch.setattr(finetune, "ClipStore", lambda path: Named())
    optimizer = schema.Optimizer(name="sgd", lr=0.1, momentum=0.0, weight_decay=0.0, **PLAIN)
    job.modules["objective"] = objective
    finetune.run(job, SimpleNamespace(finetune=spec, optimizer=optimizer))


def tune(folder: Path, monkeypatch: pytest.MonkeyPatch, validation: float) -> SimpleNamespace:
    """The network as built and as it was at each validation, and what was written."""
    job, spec, encoder = inputs_of(folder, LABELS, {"1": ["train"] * 8})
    seen = SimpleNamespace(built=[], validated=[], encoder=encoder)

    class Watched(classification.Classification):
        def network(self, encoder, dropout):
            model = super().network(encoder, dropout)
            seen.built.append(copy.deepcopy(model.state_dict()))
            return model

        def validate(self, outputs, numbers):
            return SCORES[len(seen.validated) - 1], {"validation_top1": 0.0}

    def outputs_of(module, source, *rest):
        seen.validated.append(copy.deepcopy(module.state_dict()))
        return torch.zeros(len(source.numbers), 2)

    monkeypatch.setattr(finetune, "outputs_of", outputs_of)
    spec = spec.model_copy(update={"validation": validation})
    run(job, spec, SimpleNamespace(build=lambda found: Watched(found)), monkeypatch)
    seen.written = load_file(folder / "out" / "classifier.safetensors")
    seen.epoch = json.loads((folder / "out" / "metrics.json").read_text())["epoch"]
    return seen


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_the_best_epoch_is_written(tmp_path, monkeypatch):
    seen = tune(tmp_path, monkeypatch, 0.25)
    assert seen.epoch == 3
    assert [same(seen.written, state) for state in seen.validated] == [False, False, True, False]


def test_training_begins_with_the_pretrained_weights(tmp_path, monkeypatch):
    seen = tune(tmp_path, monkeypatch, 0.25)
    (state,) = seen.built
    inside = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    assert same(inside, seen.encoder.state_dict())


def test_of_epochs_that_are_equally_good_the_first_is_kept():
    scores = iter([[0.5, -1.0], [0.5, -1.0], [0.25, -1.0]])
    module = torch.nn.Linear(1, 1)
    task = finetune.Supervised(module, SimpleNamespace(), 1.0, lambda _: (next(scores), {}))
    for epoch in (1, 2, 3):
        task.after_epoch(epoch)
    assert task.best["epoch"] == 1


def test_without_validation_the_last_epoch_is_written(tmp_path, monkeypatch):
    seen = tune(tmp_path, monkeypatch, 0.0)
    assert (seen.epoch, seen.validated) == (4, [])


def test_what_validates_does_not_train(tmp_path, monkeypatch):
    job, spec, _ = inputs_of(tmp_path, LABELS, {"1": ["train"] * 7 + ["test"]})
    built, trained, judged = [], [], []
    batches = finetune.ExampleBatches

    class Watched(classification.Classification):
        def validate(self, outputs, numbers):
            return [0.0], {"validation_top1": 0.0}

    def build(found):
        built.append(np.flatnonzero(found.targets >= 0).tolist())
        return Watched(found)

    def watched_batches(store, chosen, augment, batch_size, seed, never_flipped):
        trained.append((chosen, [*never_flipped]))
        return batches(store, chosen, augment, batch_size, seed, never_flipped)

    def outputs_of(module, source, *rest):
        judged.append(source.chosen)
        return torch.zeros(len(source.numbers), 2)

    monkeypatch.setattr(finetune, "ExampleBatches", watched_batches)
    monkeypatch.setattr(finetune, "outputs_of", outputs_of)
    spec = spec.model_copy(update={"sampling": "cover", "never_flipped": ["b"]})
    run(job, spec, SimpleNamespace(build=build), monkeypatch)
    ((training, never_flipped),) = trained
    own, aside = training.numbers.tolist(), judged[0].numbers.tolist()
    assert sorted(own + aside) == list(range(7))
    assert aside
    assert built == [own, aside]  # each knows the targets of its own alone
    assert never_flipped == [number for number in own if LABELS[number] == 1]
    assert {training.sampling, judged[0].sampling} == {"cover"}


def test_the_head_has_a_rate_of_its_own(tmp_path, monkeypatch):
    made = {}
    for rate in (1e-12, 1.0):
        job, spec, _ = inputs_of(tmp_path / str(rate), LABELS, PARTS)
        spec = spec.model_copy(update={"head_lr": rate, "epochs": 1, "validation": 0.0})
        run(job, spec, classification, monkeypatch)
        made[rate] = load_file(job.out / "classifier.safetensors")
    assert made[1e-12]["fc.bias"].abs().max() < 1e-9
    assert made[1.0]["fc.bias"].abs().max() > 1e-4


def test_a_class_that_is_never_flipped_must_be_there(tmp_path, monkeypatch):
    job, spec, _ = inputs_of(tmp_path, LABELS, PARTS)
    spec = spec.model_copy(update={"never_flipped": ["a", "left"]})
    with pytest.raises(UserError, match=r"finetune\.toy\.never_flipped: found 'left'; must be"):
        run(job, spec, classification, monkeypatch)


def several(labels) -> list[dict]:
    """Targets of several classes: the class and, of every second video, the other one."""
    return [
        {"classes": sorted({int(a), n % 2}), "frames": [[0, 9]] * len({int(a), n % 2})}
        for n, a in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("objective", "targets"),
    [(classification, np.array), (multi_label, several)],
    ids=["class", "classes"],
)
def test_targets_of_the_test_part_change_nothing(tmp_path, monkeypatch, objective, targets):
    """Noise in place of the test part's targets: chosen epoch, weights, curve are bit-identical."""
    noise = LABELS.copy()
    noise[5:] = 1 - noise[5:]
    trained = LABELS.copy()
    trained[0] = 1
    made = {}
    for name, labels in (("truth", LABELS), ("noise", noise), ("trained", trained)):
        job, spec, _ = inputs_of(tmp_path / name, targets(labels), PARTS)
        run(job, spec, objective, monkeypatch)
        made[name] = {
            file.name: file.read_bytes() for file in job.out.iterdir() if file.name != "speed.tsv"
        }
    assert {"classifier.safetensors", "metrics.json", "curve.tsv"} <= made["truth"].keys()
    assert made["truth"] == made["noise"]
    assert made["truth"]["classifier.safetensors"] != made["trained"]["classifier.safetensors"]
