"""Metrics against plain loops; the protocols on features whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream import features, metrics
from videossl.downstream.protocols import knn, linear, retrieval
from videossl.job import Job
from videossl.study import params, schema


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(2, 6))
def test_topk_against_a_loop(seed, n, classes):
    rng = np.random.default_rng(seed)
    scores, labels = rng.random((n, classes)), rng.integers(classes, size=n)
    found = metrics.topk(scores, labels, [1, 2, classes])
    for k in (1, 2, classes):
        hits = [
            label in sorted(range(classes), key=lambda c: -row[c])[:k]
            for row, label in zip(scores, labels, strict=False)
        ]
        assert found[f"top{k}"] == pytest.approx(sum(hits) / n)


def test_equal_scores_are_no_success():
    assert metrics.topk(np.zeros((3, 4)), np.array([0, 1, 2]), [1, 3]) == {"top1": 0.0, "top3": 0.0}


@given(st.integers(0, 1000))
def test_recall_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    neighbours, labels = rng.integers(4, size=(7, 9)), rng.integers(4, size=7)
    found = metrics.recall(neighbours, labels, [1, 5, 50])
    for k in (1, 5, 50):
        hits = [
            label in row[:k]
            for row, label in zip(neighbours.tolist(), labels.tolist(), strict=False)
        ]
        assert found[f"R@{k}"] == pytest.approx(sum(hits) / 7)


def blobs(seed: int, n: int = 40) -> features.Part:
    """Three well-separated directions, one per class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = np.eye(3)[labels] * 5 + rng.normal(size=(n, 3)) * 0.3
    return features.Part(x.astype(np.float32), labels.astype(np.int64))


@pytest.mark.parametrize(
    ("module", "protocol", "metric"),
    [
        (linear, schema.Linear(regularization=1.0, iterations=100), "top1"),
        (knn, schema.KNN(neighbours=5, temperature=0.07), "top1"),
        (retrieval, schema.Retrieval(topk=[1, 5]), "R@1"),
    ],
)
def test_protocols_solve_what_is_separable(tmp_path, module, protocol, metric):
    features.save(blobs(0), blobs(1), tmp_path / "features.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    who = {"encoder": "rspnet", "dataset": "d", "protocol": "p"}
    job = Job("evaluate", who, {"features": (tmp_path,)}, out, tmp_path / "s", 1, {})
    module.run(job, params.FrozenParams(seed=3, split=2, protocol=protocol))
    record = json.loads((out / "metrics.json").read_text())
    assert record["metrics"][metric] == 1.0
    assert (record["n"], record["seed"], record["split"]) == (40, 3, 2)
    predictions = np.load(out / "predictions.npz")
    assert len(predictions["labels"]) == 40


def test_knn_votes_by_hand():
    train = features.Part(np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32), np.array([0, 1, 1]))
    votes = knn.vote(train, np.array([[1, 0]], np.float32), 2, 0.5)
    np.testing.assert_allclose(votes, [[1.0, np.exp((0.8 - 1.0) / 0.5)]], rtol=1e-6)
    assert knn.vote(train, np.array([[1, 0]], np.float32), 99, 0.5).shape == (1, 2)


def test_features_survive_the_disk(tmp_path):
    features.save(blobs(0), blobs(1, 7), tmp_path / "f")
    train, test = features.load(tmp_path / "f")
    np.testing.assert_array_equal(train.features, blobs(0).features)
    np.testing.assert_array_equal(test.labels, blobs(1, 7).labels)
