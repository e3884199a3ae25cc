"""Average precision, of scores for videos and of scored boxes in frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


def of_videos(labels: Bools, scores: Floats) -> float:
    """Mean over classes of average precision: the mean precision at the places of true videos.

    Classes without a true video are left out; with none left the result is nan. Videos without any
    class rank behind all others, as in Charades' official evaluation (Charades_v1_classify).

    Args:
        labels: (N, classes), whether a video has a class.
        scores: (N, classes), larger is surer; equal scores share a place.
    """
    last = np.where(labels.any(axis=1, keepdims=True), scores, scores.min() - 1)
    present = labels.any(axis=0)
    found = [average_precision_score(labels[:, c], last[:, c]) for c in np.flatnonzero(present)]
    return float(np.mean(found)) if found else float("nan")
