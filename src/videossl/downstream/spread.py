"""How many dimensions the features of a frozen encoder really use.

Source: Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
Representations by Their Rank", ICML 2023, section 3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videossl.downstream.features import block_rows

MOST = 8192  # examples; the paper takes 25,600 images, of features of 2,048 dimensions
EPSILON = 1e-7  # the paper's, for float32


def rankme(x: NDArray[np.float32]) -> float:
    """Exponential of the entropy of the singular values of features (N, D), which sum to 1.

    From 1, where all features point one way, to min(N, D), where no direction has more of them than
    another. Features are neither centred nor scaled, as in the paper.

    The singular values are roots of the eigenvalues of the smaller Gram matrix, in float64: what
    that rounds is below ``EPSILON`` of the largest.
    """
    wide = x.shape[1] > x.shape[0]
    gram = _gram(x.T if wide else x)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    total = values.sum()
    shares = (values / total if total > 0 else values) + EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _gram(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """(D, D) products of the columns of (N, D), block by block."""
    found = np.zeros((x.shape[1], x.shape[1]))
    step = block_rows(x.shape[1])
    for start in range(0, len(x), step):
        block = x[start : start + step].astype(np.float64)
        found += block.T @ block
    return found


def chosen(count: int) -> NDArray[np.int64]:
    """Which of ``count`` examples are looked at: all, or ``MOST`` that are evenly spread."""
    places = np.linspace(0, count - 1, min(count, MOST))
    return np.unique(places.round().astype(np.int64))


def measure(path: Path) -> dict[str, float]:
    """RankMe of stored features, to four digits after the point, and over how many examples."""
    stored = np.load(path, mmap_mode="r")
    numbers = chosen(len(stored))
    return {"rankme": round(rankme(stored[numbers]), 4), "rankme_examples": len(numbers)}
