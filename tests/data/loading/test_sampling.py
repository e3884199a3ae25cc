"""Clip sampling: properties for any video and any clip."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from videossl.data.loading import sampling

frames = st.integers(1, 500)
lengths = st.integers(1, 64)
strides = st.integers(1, 16)
seeds = st.integers(0, 2**32)


@given(frames, st.integers(0, 1000), lengths, strides)
def test_a_window_has_its_length_and_stays_in_the_video(num_frames, start, length, stride):
    found = sampling.window(num_frames, start % num_frames, length, stride)
    assert found.shape == (length,)
    assert found.dtype == np.int64
    assert (found >= 0).all()
    assert (found < num_frames).all()
    assert (np.diff(found) % num_frames == stride % num_frames).all()


@given(frames, lengths, strides, seeds)
def test_a_random_window_is_contiguous_where_it_fits(num_frames, length, stride, seed):
    reach = sampling.span(length, stride)
    start = sampling.random_start(np.random.default_rng(seed), num_frames, reach)
    found = sampling.window(num_frames, start, length, stride)
    if reach <= num_frames:
        assert (np.diff(found) == stride).all()
        assert found[-1] - found[0] + 1 == reach
    assert 0 <= start < num_frames


def test_every_start_that_fits_is_drawn_alike():
    rng = np.random.default_rng(0)
    starts = [sampling.random_start(rng, 20, 15) for _ in range(6000)]
    counts = np.bincount(starts, minlength=6)
    assert len(counts) == 6
    assert abs(counts / 1000 - 1).max() < 0.15


@given(frames, st.integers(1, 100), st.integers(1, 20))
def test_uniform_starts_cover_the_video(num_frames, reach, count):
    starts = sampling.uniform_starts(num_frames, reach, count)
    last = max(num_frames - reach, 0)
    assert len(starts) == count
    assert starts == sorted(starts)
    assert all(0 <= s <= last for s in starts)
    if count > 1:
        assert (starts[0], starts[-1]) == (0, last)
        gaps = np.diff(starts)
        assert gaps.max() - gaps.min() <= 1
