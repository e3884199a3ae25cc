"""Twelve similarities and distances of two feature vectors, none of whose entries is negative.

Source: Kliper-Gross, Hassner and Wolf, "The Action Similarity Labeling Challenge", TPAMI 34(3),
2012, table 3. Its caption says that vectors were normalised before the last four: here rows 9 to 12
take them with the sum 1 (our interpretation: the norm is not named). All take them at unit length
first, as Tran et al., ICCV 2015 (C3D), and Wang et al., TPAMI 2021 (STS), so that rows 1 and 5 are
equal but for zeros.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import features

COUNT = 12
EPS = 1e-8  # added to what is divided by and to what a logarithm is taken of
TEMPORARIES = 24  # float32 arrays of a block's size that the formulas take, about


def of_pairs(
    x: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The similarities (P, 12) of rows of ``x``, block by block.

    Args:
        x: (N, D), no entry negative.
        first: (P,) rows of ``x``.
        second: (P,) the rows that they are compared with.
    """
    found = np.empty((len(first), COUNT))
    step = max(1, features.block_rows(x.shape[1]) // TEMPORARIES)
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        a, b = (features.unit(x[rows[block]]).astype(np.float64) for rows in (first, second))
        for column, values in enumerate(_columns(a, b)):
            found[block, column] = values
    return found


def _columns(a: NDArray[np.float64], b: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The twelve, (P,) each, in the order of the paper's table, of vectors (P, D)."""
    product, total = a * b, a + b
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    yield product.sum(axis=1)
    yield np.sqrt(product.sum(axis=1))
    yield np.sqrt(np.sqrt(product).sum(axis=1))
    yield np.sqrt((product / (total + EPS)).sum(axis=1))
    yield product.sum(axis=1) / (norms + EPS)
    yield np.sqrt((np.square(a - b) / (total + EPS)).sum(axis=1))
    yield np.abs(a - b).sum(axis=1)
    yield np.sqrt(np.square(np.sqrt(a) - np.sqrt(b)).sum(axis=1))
    p, q = (v / (v.sum(axis=1, keepdims=True) + EPS) for v in (a, b))
    yield np.sqrt(np.square(p - q).sum(axis=1))
    yield 0.5 * ((p - q) * np.log((p + EPS) / (q + EPS))).sum(axis=1)
    yield (np.sqrt(np.maximum(p, q)) / np.sqrt(p + q + EPS)).sum(axis=1)
    yield np.minimum(p, q).sum(axis=1) / (p.sum(axis=1) * q.sum(axis=1) + EPS)
