"""Neighbours in blocks against a stable sort of the whole matrix."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream import features, neighbours
from videossl.job import UserError

# of unit length exactly, with cosines that are sums of quarters: equal in whatever order
EXACT = np.array(
    [
        *np.eye(4),
        *-np.eye(4),
        *(
            np.array([a, b, c, d]) / 2
            for a in (1, -1)
            for b in (1, -1)
            for c in (1, -1)
            for d in (1, -1)
        ),
        np.zeros(4),
    ],
    np.float32,
)


def plain(queries: np.ndarray, gallery: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    similarity = features.unit(queries) @ features.unit(gallery).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(similarity, order, axis=1)


@given(st.data(), st.integers(1, 30), st.integers(1, 60), st.integers(1, 70), st.integers(1, 5000))
def test_ties_go_to_the_earlier_row(data, n, m, count, block_bytes):
    rows = st.integers(0, len(EXACT) - 1)
    queries = EXACT[data.draw(st.lists(rows, min_size=n, max_size=n))] * np.float32(8)
    gallery = EXACT[data.draw(st.lists(rows, min_size=m, max_size=m))] * np.float32(0.25)
    found, cosine = neighbours.nearest(queries, gallery, count, block_bytes)
    wanted, expected = plain(queries, gallery, count)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(cosine, expected)


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 9000))
def test_real_numbers_against_the_whole_matrix(seed, count, block_bytes):
    rng = np.random.default_rng(seed)
    queries, gallery = (rng.normal(size=(n, 6)).astype(np.float32) for n in (23, 57))
    found, cosine = neighbours.nearest(queries, gallery, count, block_bytes)
    wanted, expected = plain(queries, gallery, count)
    np.testing.assert_allclose(cosine, expected, atol=1e-6)
    exact = features.unit(queries).astype(np.float64) @ features.unit(gallery).T
    # another row only where the two are equal but for the rounding of a product
    ours, theirs = (np.take_along_axis(exact, rows, axis=1) for rows in (found, wanted))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert all(len(set(row)) == count for row in found.tolist())


def test_many_queries_are_several_blocks():
    rng = np.random.default_rng(0)
    queries = EXACT[rng.integers(len(EXACT), size=2 * neighbours.QUERIES + 5)]
    gallery = EXACT[rng.integers(len(EXACT), size=100)]
    found, _ = neighbours.nearest(queries, gallery, 7, 1 << 19)
    np.testing.assert_array_equal(found, plain(queries, gallery, 7)[0])


def test_memory_is_a_block_and_not_the_matrix():
    rng = np.random.default_rng(0)
    queries, gallery = (rng.normal(size=(n, 4)).astype(np.float32) for n in (4000, 8000))
    tracemalloc.start()
    try:
        neighbours.nearest(queries, gallery, 5, 8 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20  # the matrix alone would be 128 MB


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    x = np.ones((3, 2), np.float32)
    bad = x.copy()
    bad[2, 0] = value
    with pytest.raises(UserError, match="query features have a row that is not finite: number 2"):
        neighbours.nearest(bad, x, 1)
    with pytest.raises(UserError, match="training features have a row that is not finite"):
        neighbours.nearest(x, bad, 1)
