"""Exact nearest neighbours by cosine, in blocks: the whole similarity matrix is never there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import features
from videossl.job import UserError

BLOCK_BYTES = 256 << 20  # of a block of similarities and what is sorted of them
QUERIES = 1024  # of a block, at most
CELL_BYTES = 16  # per similarity: itself, a temporary and its sorting key
INDEX_BITS = 32


def nearest(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    count: int,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows of ``gallery`` that are nearest to each query, nearest first.

    Of equal similarities the earlier row is nearer, as in a stable sort of the whole matrix.

    Args:
        queries: (N, D).
        gallery: (M, D).
        count: neighbours per query; M if that is fewer.
        block_bytes: memory that a block may take, besides what is returned.

    Returns:
        Row numbers (N, count) and cosines (N, count).

    Raises:
        UserError: a feature is not finite.
    """
    for name, x in (("query", queries), ("training", gallery)):
        if (row := features.first_not_finite(x)) is not None:
            raise UserError(f"the {name} features have a row that is not finite: number {row}")
    count = min(count, len(gallery))
    high = min(QUERIES, max(1, len(queries)))
    wide = max(1, block_bytes // (CELL_BYTES * high))
    best = np.full((len(queries), count), np.iinfo(np.int64).min)
    for left in range(0, len(gallery), wide):
        candidates = features.unit(gallery[left : left + wide]).T
        for top in range(0, len(queries), high):
            rows = best[top : top + high]
            similarity = features.unit(queries[top : top + high]) @ candidates
            keys = np.empty((len(rows), count + similarity.shape[1]), np.int64)
            keys[:, :count] = rows
            _write_keys(similarity, left, keys[:, count:])
            keys.partition(keys.shape[1] - count, axis=1)
            rows[:] = keys[:, keys.shape[1] - count :]
    best.sort(axis=1)
    return _read_keys(best[:, ::-1])


def _write_keys(similarity: NDArray[np.float32], first_row: int, out: NDArray[np.int64]) -> None:
    """Whole numbers that sort like (similarity, earlier row); no two of a query are equal.

    The bits of a float32 sort like the number if those behind the sign are inverted where it is
    negative. The similarities are overwritten.
    """
    similarity += np.float32(0.0)  # -0.0 becomes 0.0, which it is equal to
    bits = similarity.view(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    out[:] = bits
    out <<= INDEX_BITS
    rows = np.arange(first_row, first_row + similarity.shape[1], dtype=np.int64)
    out |= (1 << INDEX_BITS) - 1 - rows


def _read_keys(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row numbers and similarities of keys."""
    rows = (1 << INDEX_BITS) - 1 - (keys & ((1 << INDEX_BITS) - 1))
    bits = (keys >> INDEX_BITS).astype(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    return rows, bits.view(np.float32)
