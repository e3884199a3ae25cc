"""Views of examples: which frames, which part of the frame, and what is never mirrored."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.specs import AUGMENT
from support.toy import Store
from videossl.data.loading import sampling
from videossl.data.loading.augment import squares, whole
from videossl.data.loading.example_batches import Chosen, ExampleBatches, ViewBatches
from videossl.data.loading.fields import CROP, Field
from videossl.study.schema import Clip

CLIP = Clip(frames=4, stride=2, size=16)  # of videos of 12 frames, 20 x 24
VIDEOS = [5, 5, 2]
NUMBERS = np.array([7, 8, 9])


def chosen(
    frames: list[int] | None = None, whole: bool = False, sampling: str = "window"
) -> Chosen:
    moments = None if frames is None else np.array(frames)
    return Chosen(NUMBERS, VIDEOS, moments, whole, CLIP, sampling)


def training(given: Chosen, **rest) -> list:
    """(number, request, draw) of the rows of five epochs."""
    source = ExampleBatches(Store(), given, AUGMENT, 3, 0, **rest)
    return [
        (int(source.examples_of(step)[row]), *source.sample_of(step, row)[0])
        for step in range(5)
        for row in range(3)
    ]


def test_a_moment_is_in_the_middle_of_its_clip_and_edges_repeat():
    around = {n: r.frames.tolist() for n, r, _ in training(chosen([6, 1, 11]))}
    assert around == {7: [2, 4, 6, 8], 8: [0, 0, 1, 3], 9: [7, 9, 11, 11]}


def test_whole_frames_are_not_cropped_but_may_be_mirrored():
    drawn = [draw for _, _, draw in training(chosen(whole=True))]
    assert all(draw[CROP].tolist() == [0, 0, 20, 24] for draw in drawn)
    assert {float(draw[Field.FLIP]) for draw in drawn} == {0.0, 1.0}


def test_some_examples_are_never_mirrored():
    flips = {(n, float(draw[Field.FLIP])) for n, _, draw in training(chosen(), never_flipped=[8])}
    assert flips == {(7, 0.0), (7, 1.0), (8, 0.0), (9, 0.0), (9, 1.0)}


def test_examples_of_one_video_draw_apart_and_say_what_they_reach_over():
    rows = training(chosen())
    assert any((a[1].frames != b[1].frames).any() for a, b in pairwise(rows))
    drawn = {n: [r.frames.tolist() for number, r, _ in rows if number == n] for n in (7, 8)}
    assert drawn[7] != drawn[8]  # of one video
    looped = replace(chosen(), clip=Clip(frames=8, stride=2, size=16))  # in a video of 12
    rows += training(looped)
    assert any(r.frames[0] > r.frames[-1] for _, r, _ in rows)
    assert all(r.labels == (r.frames.min(), r.frames.max()) for _, r, _ in rows)


@given(st.integers(1, 90), st.integers(2, 20), st.integers(0, 99), st.integers(1, 5))
def test_cover_takes_a_frame_of_each_equal_part(num_frames, length, seed, clips):
    drawn = sampling.cover(num_frames, length, np.random.default_rng(seed))
    every = [drawn, *(sampling.cover_at(num_frames, length, k, clips) for k in range(clips))]
    for frames in every:
        for k, frame in enumerate(frames.tolist()):
            assert int(k * num_frames / length) <= frame <= (k + 1) * num_frames / length
            assert frame < num_frames
    assert sampling.cover_at(40, 4, 0, 1).tolist() == [5, 15, 25, 35]


def test_every_frame_of_each_part_is_drawn_apart_from_other_parts():
    drawn = [sampling.cover(20, 4, np.random.default_rng(seed)).tolist() for seed in range(300)]
    for part, frames in enumerate(zip(*drawn, strict=True)):
        counts = np.bincount(np.array(frames) - 5 * part, minlength=5)
        assert len(counts) == 5
        assert counts.min() > 30  # 60 are expected
    places = {tuple(frame % 5 for frame in frames) for frames in drawn}
    assert len(places) > 150  # of 625


def test_clips_that_cover_a_video_lie_between_one_another():
    source = ViewBatches(Store(), chosen(sampling="cover"), 3, 1, 4)
    shown = [source.sample_of(0, row)[0][0].frames.tolist() for row in range(3)]
    assert shown == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_training_covers_the_video_where_that_is_asked_for():
    reach = [r.labels for _, r, _ in training(chosen(sampling="cover"))]
    assert all(first < 3 <= 9 <= last for first, last in reach)


@pytest.mark.parametrize(("size", "places"), [((20, 26), [0, 3, 6]), ((26, 20), [0, 3, 6])])
def test_three_crops_lie_along_the_long_side(size, places):
    drawn = [draw[CROP].tolist() for draw in squares(*size, 3)]
    wide = size[1] > size[0]
    assert drawn == [[0, p, 20, 20] if wide else [p, 0, 20, 20] for p in places]
    assert squares(*size, 1)[0].tolist() == squares(*size, 3)[1].tolist()
    assert whole(*size)[CROP].tolist() == [0, 0, *size]


def test_views_are_clips_by_crops_in_order():
    source = ViewBatches(Store(), chosen(), 2, 3, 4)
    rows = [
        (int(source.examples_of(step)[row]), *source.sample_of(step, row)[0])
        for step in source.steps()
        for row in range(len(source.videos_of(step)))
    ]
    assert [n for n, _, _ in rows] == [7] * 6 + [8] * 6 + [9] * 6
    assert [int(r.frames[0]) for _, r, _ in rows[:6]] == [0, 0, 0, 5, 5, 5]
    assert [float(draw[Field.X]) for _, _, draw in rows[:6]] == [0, 2, 4, 0, 2, 4]


def test_views_of_a_moment_show_it_whole():
    source = ViewBatches(Store(), chosen([6, 1, 11], whole=True), 1, 1, 4)
    ((request, draw),) = source.sample_of(0, 1)
    assert request.frames.tolist() == [0, 0, 1, 3]
    assert draw[CROP].tolist() == [0, 0, 20, 24]
