"""Metrics against plain loops; the protocols on features whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream import examples, features, metrics
from videossl.downstream.examples import Examples
from videossl.downstream.protocols import knn, linear, retrieval
from videossl.job import Job, UserError
from videossl.study import reads, schema


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
        assert found[f"top{k}"].tolist() == hits


def test_equal_scores_are_no_success():
    found = metrics.topk(np.zeros((3, 4)), np.array([0, 1, 2]), [1, 3])
    assert not found["top1"].any()
    assert not found["top3"].any()


def test_scores_that_are_no_numbers_are_refused():
    scores = np.array([[0.1, np.nan], [0.2, 0.3]])
    with pytest.raises(UserError, match="some are not a number"):
        metrics.topk(scores, np.array([0, 1]), [1])


def test_more_than_there_are_is_refused():
    with pytest.raises(UserError, match=r"topk = \[1, 9\]: must be at most the 2 classes"):
        metrics.topk(np.zeros((3, 2)), np.array([0, 1, 1]), [1, 9])
    with pytest.raises(UserError, match=r"topk = \[9\]: must be at most the 4 neighbours"):
        metrics.recall(np.zeros((3, 4), np.int64), np.array([0, 1, 1]), [9])


@given(st.integers(0, 1000))
def test_recall_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    neighbours, labels = rng.integers(4, size=(7, 9)), rng.integers(4, size=7)
    found = metrics.recall(neighbours, labels, [1, 5, 9])
    for k in (1, 5, 9):
        hits = [
            label in row[:k]
            for row, label in zip(neighbours.tolist(), labels.tolist(), strict=False)
        ]
        assert found[f"R@{k}"].tolist() == hits


def blobs(n: int = 80) -> tuple[np.ndarray, Examples]:
    """Three well-separated directions, one per class; half of the examples test in split 2."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = np.eye(3)[labels] * 5 + rng.normal(size=(n, 3)) * 0.3
    parts = ["train" if k < n // 2 else "test" for k in range(n)]
    videos = [f"v{k}.avi" for k in range(n)]
    found = Examples(videos, labels.astype(np.int64), ["a", "b", "c"], {"2": parts})
    return x.astype(np.float32), found


def job_of(folder: Path, x: np.ndarray, found: Examples) -> Job:
    """A job of ``evaluate`` on these features."""
    features.save([x], found, folder)
    examples.write(found, {}, folder)
    out = folder / "out"
    out.mkdir()
    key = {"row": "rspnet", "test": "t", "protocol": "p", "seed": "3", "split": "2"}
    inputs = {"features": (folder,), "examples": (folder,)}
    return Job("evaluate", key, inputs, out, folder / "s", 1, {})


@pytest.mark.parametrize(
    ("module", "protocol", "metric"),
    [
        (linear, schema.Linear(solver="lbfgs", regularization=1.0, iterations=100), "top1"),
        (knn, schema.KNN(neighbours=5, temperature=0.07), "top1"),
        (retrieval, schema.Retrieval(topk=[1, 5]), "R@1"),
    ],
)
def test_protocols_solve_what_is_separable(tmp_path, module, protocol, metric):
    job = job_of(tmp_path, *blobs())
    module.run(job, reads.EvaluateParams(protocol=protocol))
    record = json.loads((job.out / "metrics.json").read_text())
    assert record["metrics"][metric] == 1.0
    assert (record["n"], record["seed"], record["split"]) == (40, 3, 2)
    predictions = np.load(job.out / "predictions.npz")
    assert predictions["examples"].tolist() == list(range(40, 80))
    assert predictions[f"value.{metric}"].mean() == 1.0
    values, totals = module.measure(dict(predictions), protocol)  # of what is stored alone
    again = {name: float(value.mean()) for name, value in values.items()} | totals
    assert again == record["metrics"]


def test_frames_have_macro_averages_beside_top1(tmp_path):
    x, found = blobs()
    found = replace(found, frames=np.arange(len(x)) % 7)
    job = job_of(tmp_path, x, found)
    spec = schema.Linear(solver="lbfgs", regularization=1.0, iterations=100)
    linear.run(job, reads.EvaluateParams(protocol=spec))
    record = json.loads((job.out / "metrics.json").read_text())["metrics"]
    assert record == dict.fromkeys(("top1", "macro_precision", "macro_recall", "macro_F1"), 1.0)
    stored = dict(np.load(job.out / "predictions.npz"))
    assert stored["frames"].tolist() == [n % 7 for n in range(40, 80)]
    stored["scores"] = np.tile([0.0, 1.0, 0.5], (40, 1))  # nothing but the second class
    _, totals = linear.measure(stored, spec)
    assert totals["macro_recall"] == pytest.approx(1 / 3)
    del stored["frames"]  # of whole videos there is top-1 alone
    assert linear.measure(stored, spec)[1] == {}


def test_knn_votes_by_hand():
    gallery, labels = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32), np.array([0, 1, 1])
    query = np.array([[1, 0]], np.float32)
    votes = knn.vote(gallery, labels, query, 2, 0.5, 3)  # the third class has no training video
    np.testing.assert_allclose(votes, [[1.0, np.exp((0.8 - 1.0) / 0.5), 0]], rtol=1e-6)
    assert knn.vote(gallery, labels, query, 99, 0.5, 2).shape == (1, 2)


@pytest.mark.parametrize(
    ("module", "protocol", "metric"),
    [
        (linear, schema.Linear(solver="lbfgs", regularization=1.0, iterations=100), "top1"),
        (knn, schema.KNN(neighbours=5, temperature=0.07), "top1"),
        (retrieval, schema.Retrieval(topk=[1]), "R@1"),
    ],
)
def test_a_class_without_training_videos_is_never_found(tmp_path, module, protocol, metric):
    x, found = blobs()
    for number in np.flatnonzero(found.targets == 2):
        found.parts["2"][number] = "test"
    job = job_of(tmp_path, x, found)
    module.run(job, reads.EvaluateParams(protocol=protocol))
    values = np.load(job.out / "predictions.npz")[f"value.{metric}"]
    tested = found.targets[found.part(2, "test")]
    np.testing.assert_array_equal(values, tested != 2)


def test_examples_survive_the_disk(tmp_path):
    _, found = blobs()
    odd = "caf\udce9.avi"  # a file name that is no UTF-8
    found.videos[3] = odd
    examples.write(found, {"data": "d"}, tmp_path)
    again = examples.read(tmp_path)
    assert again.videos == found.videos
    assert again.classes == found.classes
    assert again.parts == found.parts
    np.testing.assert_array_equal(again.targets, found.targets)
    (tmp_path / "examples.csv").write_text("example\n1\n")
    with pytest.raises(UserError, match=r"examples\.csv: not a table of examples"):
        examples.read(tmp_path)
