"""Similarities against plain loops over the paper's table; folds, and what is measured of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from videossl.downstream import examples, features, similarities
from videossl.downstream.examples import Examples
from videossl.downstream.protocols import similarity
from videossl.job import Job, UserError
from videossl.study import reads, schema

SPEC = schema.Similarity(regularization=1.0)


def table(x: list[float], y: list[float]) -> list[float]:
    """The twelve of two vectors without zeros, as the paper writes them."""
    unit = [[v / math.sqrt(sum(w * w for w in z)) for v in z] for z in (x, y)]
    share = [[v / sum(z) for v in z] for z in (x, y)]
    both, parts = list(zip(*unit, strict=True)), list(zip(*share, strict=True))
    length = math.prod(math.sqrt(sum(v * v for v in z)) for z in unit)
    return [
        sum(a * b for a, b in both),
        math.sqrt(sum(a * b for a, b in both)),
        math.sqrt(sum(math.sqrt(a) * math.sqrt(b) for a, b in both)),
        math.sqrt(sum(a * b / (a + b) for a, b in both)),
        sum(a * b for a, b in both) / length,
        math.sqrt(sum((a - b) ** 2 / (a + b) for a, b in both)),
        sum(abs(a - b) for a, b in both),
        math.sqrt(sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in both)),
        math.sqrt(sum((a - b) ** 2 for a, b in parts)),
        0.5 * sum(a * math.log(a / b) + b * math.log(b / a) for a, b in parts),
        sum(math.sqrt(max(a, b)) / math.sqrt(a + b) for a, b in parts),
        sum(min(a, b) for a, b in parts) / (sum(share[0]) * sum(share[1])),
    ]


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(-3, 3))
def test_the_twelve_are_the_papers(seed, width, power):
    x = np.random.default_rng(seed).uniform(0.05, 1, size=(4, width)) * 10.0**power
    first, second = np.array([0, 2, 3]), np.array([1, 3, 3])
    found = similarities.of_pairs(x.astype(np.float32), first, second)
    wanted = [table(x[a].tolist(), x[b].tolist()) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_zeros_are_no_numbers_to_fear():
    x = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [3, 4, 0]], np.float32)
    first, second = (rows.ravel() for rows in np.meshgrid(range(4), range(4)))
    found = similarities.of_pairs(x, first, second)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, similarities.of_pairs(x, second, first))  # symmetric
    alike = found[first == second][1:]
    np.testing.assert_allclose(alike[:, [0, 1, 4, 11]], 1, atol=1e-6)
    np.testing.assert_allclose(alike[:, [5, 6, 7, 8, 9]], 0, atol=1e-6)


@pytest.mark.parametrize("block_bytes", [1, 24 * 4 * 5 * 3])
def test_blocks_do_not_matter(monkeypatch, block_bytes):
    x = np.random.default_rng(0).random((6, 5), np.float32)
    pairs = np.random.default_rng(1).integers(6, size=(10, 2))
    whole = similarities.of_pairs(x, pairs[:, 0], pairs[:, 1])
    monkeypatch.setattr(features, "BLOCK_BYTES", block_bytes)
    np.testing.assert_array_equal(similarities.of_pairs(x, pairs[:, 0], pairs[:, 1]), whole)


def pairs_of(n: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    same, folds = rng.integers(2, size=n), np.repeat([1, 2, 5], [n // 2, n // 3, n // 6])
    x = (rng.normal(size=(n, 4)) + 0.7 * same[:, None]) * [1, 10, 0.1, 1]
    return x.astype(np.float32), same, folds


def test_a_fold_is_tested_after_training_on_the_others():
    x, same, folds = pairs_of()
    scores = similarity.folded(x, same, folds, 0.5)
    for fold in (1, 2, 5):
        held = folds == fold
        model = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.5))
        wanted = model.fit(x[~held], same[~held]).decision_function(x[held])
        np.testing.assert_allclose(scores[held], wanted, atol=5e-3)


def test_targets_of_a_fold_do_not_matter_to_its_scores():
    x, same, folds = pairs_of()
    noise = np.where(folds == 2, 1 - same, same)
    before, after = (similarity.folded(x, truth, folds, 1.0) for truth in (same, noise))
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert (before[folds != 2] != after[folds != 2]).any()


def measured(same, folds, scores) -> dict[str, float]:
    made = {"same": np.array(same), "folds": np.array(folds), "scores": np.array(scores)}
    values, totals = similarity.measure(made, SPEC)
    return {name: float(value.mean()) for name, value in values.items()} | totals


def test_accuracy_is_the_mean_over_folds():
    # folds of 2, 4 and 2 pairs with accuracies 1/2, 1/2 and 1
    same, folds = [1, 0, 1, 0, 1, 0, 1, 0], [1, 1, 2, 2, 2, 2, 3, 3]
    scores = [0.3, 0.1, 0.2, -1.0, -0.5, 0.4, 0.6, -2.0]
    found = measured(same, folds, scores)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["accuracy_se"] == pytest.approx(1 / 6)
    positive, negative = [0.3, 0.2, -0.5, 0.6], [0.1, -1.0, 0.4, -2.0]
    above = [float(p > n) for p in positive for n in negative]
    assert found["AUC"] == pytest.approx(np.mean(above))


def test_of_one_fold_and_one_kind_there_is_an_accuracy_only():
    found = measured([1, 1], [4, 4], [1.0, -1.0])
    assert found.pop("accuracy") == 0.5
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("score", [-1.0, 0.0, 1.0])
def test_a_constant_predictor_has_chance(score):
    found = measured([0, 1] * 4, [1] * 4 + [2] * 4, [score] * 8)
    assert found == {"accuracy": 0.5, "accuracy_se": 0.0, "AUC": 0.5}


@pytest.mark.parametrize(("same", "folds"), [([0, 1, 0, 1], [1] * 4), ([1, 1, 0, 1], [1, 1, 2, 2])])
def test_what_cannot_be_trained_on_is_one_line(same, folds):
    x = np.random.default_rng(0).random((4, 12), np.float32)
    with pytest.raises(UserError, match=r"similarity: the . pairs outside fold . are not of both"):
        similarity.folded(x, np.array(same), np.array(folds), 1.0)


def job_of(folder: Path, least: float = 0.0) -> Job:
    """Videos of two kinds that two layers tell apart, paired in three folds."""
    rng = np.random.default_rng(0)
    kinds = np.arange(24) % 2
    x = rng.random((24, 7)) * 0.2
    x[:, :3] += np.eye(3)[kinds]
    x[:, 3:] += np.eye(4)[2 * kinds]
    x[5, 4] = least
    listed = [
        [a, b, int(kinds[a] == kinds[b]), 1 + a // 8]
        for a in range(24)
        for b in range(a + 1, 24)
        if a // 8 == b // 8
    ]
    found = Examples(
        [f"v{k}" for k in range(24)], [{}] * 24, [], {"1": ["all"] * 24}, facts={"pairs": listed}
    )
    features.save([x.astype(np.float32)], found, folder)
    features.write_layers(folder, [-2, -1], [3, 4])
    examples.write(found, {}, folder)
    out = folder / "out"
    out.mkdir()
    key = {"row": "r", "test": "t", "protocol": "similarity", "seed": "0", "split": "1"}
    inputs = {"features": (folder,), "examples": (folder,)}
    return Job("evaluate", key, inputs, out, folder / "s", 1, {})


def test_pairs_are_told_by_what_separates_them(tmp_path):
    job = job_of(tmp_path)
    similarity.run(job, reads.EvaluateParams(protocol=SPEC))
    record = json.loads((job.out / "metrics.json").read_text())
    assert record["metrics"] == {"accuracy": 1.0, "accuracy_se": 0.0, "AUC": 1.0}
    assert record["n"] == 3 * 28
    stored = dict(np.load(job.out / "predictions.npz"))
    values, totals = similarity.measure(stored, SPEC)
    assert {n: float(v.mean()) for n, v in values.items()} | totals == record["metrics"]
    x = np.load(tmp_path / features.FILE)
    described = similarity.describe(tmp_path, x, stored["pairs"], "k")
    assert described.shape == (3 * 28, 24)
    rows = stored["pairs"].T
    np.testing.assert_allclose(described[:, :12], similarities.of_pairs(x[:, :3], *rows), rtol=1e-5)
    np.testing.assert_allclose(described[:, 12:], similarities.of_pairs(x[:, 3:], *rows), rtol=1e-5)


def test_negative_features_are_refused(tmp_path):
    job = job_of(tmp_path, -0.25)
    with pytest.raises(UserError, match=r"probe\.t\.features\.layers\[1\]: .* down to -0\.25; "):
        similarity.run(job, reads.EvaluateParams(protocol=SPEC))
