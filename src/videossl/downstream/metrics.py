"""Metrics from predictions, and how a protocol writes its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.job import Job, UserError, write_json

Predictions = dict[str, NDArray[Any]]  # what metrics are computed from, truth included
Values = dict[str, NDArray[np.floating[Any]]]  # metric -> its value for each example
Totals = dict[str, float]  # metric that is no mean over examples -> its value
PREDICTIONS = "predictions.npz"


def check_scores(scores: NDArray[np.floating[Any]]) -> None:
    """Refuse scores that no metric can rank.

    Raises:
        UserError: one is not a number.
    """
    if np.isnan(scores).any():
        raise UserError("scores: some are not a number; the network or its features are damaged")


def topk(scores: NDArray[np.floating[Any]], labels: NDArray[np.int64], ks: Sequence[int]) -> Values:
    """1 where an example's label is among the k best scores, else 0; equal scores count as worse.

    Args:
        scores: (N, classes).
        labels: (N,).

    Raises:
        UserError: a score is not a number, or there are fewer than k classes.
    """
    check_scores(scores)
    if max(ks) > scores.shape[1]:
        raise UserError(f"topk = {list(ks)}: must be at most the {scores.shape[1]} classes")
    own = scores[np.arange(len(labels)), labels][:, None]
    ahead = (scores >= own).sum(axis=1) - 1  # the label's own column counted once
    return {f"top{k}": (ahead < k).astype(np.float32) for k in ks}


def recall(neighbours: NDArray[np.int64], labels: NDArray[np.int64], ks: Sequence[int]) -> Values:
    """R@k: 1 where a neighbour of the query's label is among the k nearest, else 0.

    Args:
        neighbours: (N, at least max(ks)) labels of the gallery, nearest first.
        labels: (N,) labels of the queries.

    Raises:
        UserError: the gallery has fewer than k entries.
    """
    if max(ks) > neighbours.shape[1]:
        raise UserError(f"topk = {list(ks)}: must be at most the {neighbours.shape[1]} neighbours")
    hit = neighbours == labels[:, None]
    return {f"R@{k}": hit[:, :k].any(axis=1).astype(np.float32) for k in ks}


def macro(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> Totals:
    """Mean over the classes in ``labels`` of precision, recall and F1 (of each class, not of both).

    A class that is never predicted has a precision of 0, and an F1 of 0. Classes without an example
    here are left out: their recall is not defined. Examples taken for one of these are wrong.

    Args:
        labels: (N,) true classes.
        predicted: (N,) predicted ones.
    """
    found: dict[str, list[float]] = {"precision": [], "recall": [], "F1": []}
    for label in np.unique(labels):
        true, taken = labels == label, predicted == label
        right = float((true & taken).sum())
        found["precision"].append(right / taken.sum() if taken.any() else 0.0)
        found["recall"].append(right / true.sum())
        found["F1"].append(2 * right / (true.sum() + taken.sum()))
    return {f"macro_{name}": float(np.mean(values)) for name, values in found.items()}


def resampled(predictions: Predictions, picks: NDArray[np.int64]) -> Predictions:
    """The predictions of some of the examples, by their places; one may be there several times.

    Arrays with a row for each example have rows of those; all others stay as they are.
    """
    count = len(predictions["examples"])
    return {
        name: value[picks] if value.ndim and len(value) == count else value
        for name, value in predictions.items()
    }


def write(
    job: Job,
    protocol: str,
    examples: NDArray[np.int64],
    values: Mapping[str, NDArray[np.floating[Any]]],
    totals: Mapping[str, float] | None = None,
    /,
    **predictions: NDArray[Any],
) -> None:
    """Write ``predictions.npz``, then ``metrics.json`` (shares are 0 to 1).

    Args:
        job: of the stage ``test`` or ``evaluate``.
        protocol: what the results are called.
        examples: (N,) numbers of the test examples.
        values: metric -> its value for each of them; the metric is their mean.
        totals: metric that is no mean over examples -> its value.
        predictions: what all of these were computed from.

    Raises:
        UserError: a value is not finite.
    """
    found = {name: float(value.mean(dtype=np.float64)) for name, value in values.items()}
    found |= totals or {}
    for name, value in found.items():
        if not np.isfinite(value):
            raise UserError(f"{job.name}: {name} = {value}: must be finite")
    kept = {f"value.{name}": value for name, value in values.items()}
    arrays: dict[str, Any] = {"examples": examples, **predictions, **kept}
    np.savez(job.out / PREDICTIONS, **arrays)
    record = {
        "row": job.key["row"],
        "test": job.key["test"],
        "form": "finetune" if job.stage == "test" else "probe",
        "protocol": protocol,
        "split": job.split,
        "seed": job.seed,
        "n": len(examples),
        "metrics": found,
    }
    write_json(job.out / "metrics.json", record)
