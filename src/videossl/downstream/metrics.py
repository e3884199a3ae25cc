"""Metrics from predictions, and how a protocol writes its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.job import Job, write_json


def topk(
    scores: NDArray[np.floating[Any]], labels: NDArray[np.int64], ks: Sequence[int]
) -> dict[str, float]:
    """Share of rows whose label is among the k best scores; equal scores count as worse.

    Args:
        scores: (N, classes).
        labels: (N,).
    """
    own = scores[np.arange(len(labels)), labels][:, None]
    ahead = (scores >= own).sum(axis=1) - 1  # the label's own column counted once
    return {f"top{k}": float((ahead < k).mean()) for k in ks}


def recall(
    neighbours: NDArray[np.int64], labels: NDArray[np.int64], ks: Sequence[int]
) -> dict[str, float]:
    """R@k: share of queries with a neighbour of their label among the k nearest.

    Args:
        neighbours: (N, at least max(ks) or all) labels of the gallery, nearest first.
        labels: (N,) labels of the queries.
    """
    hit = neighbours == labels[:, None]
    return {f"R@{k}": float(hit[:, :k].any(axis=1).mean()) for k in ks}


def write(
    job: Job, split: int, seed: int, metrics: dict[str, float], **predictions: NDArray[Any]
) -> None:
    """Write ``predictions.npz``, then ``metrics.json`` (shares, 0 to 1)."""
    np.savez(job.out / "predictions.npz", **predictions)  # type: ignore[arg-type]
    record = {
        "method": job.who["encoder"],
        "dataset": job.who["dataset"],
        "protocol": job.who["protocol"],
        "split": split,
        "seed": seed,
        "n": len(next(iter(predictions.values()))),
        "metrics": metrics,
    }
    write_json(job.out / "metrics.json", record)
