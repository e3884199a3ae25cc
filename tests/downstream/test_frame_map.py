"""Average precision of boxes against a plain transcription of AVA's evaluation, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream.average_precision import Boxes, of_boxes


def overlap(a: Any, b: Any) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def reversed_sort(scores: list[float]) -> list[int]:
    """From high to low: a stable rising sort, turned round."""
    return sorted(range(len(scores)), key=lambda n: scores[n])[::-1]


def plain(found: Boxes, true: Boxes, c: int) -> float:
    """A class's average precision, image by image and box by box."""
    scores, hits = [], []
    for frame in sorted({*found.frames.tolist(), *true.frames.tolist()}):
        truths = [
            true.places[n]
            for n in range(len(true.frames))
            if true.frames[n] == frame and true.classes[n, c]
        ]
        boxes = [n for n in range(len(found.frames)) if found.frames[n] == frame]
        taken = [False] * len(truths)
        for place in reversed_sort([float(found.classes[n, c]) for n in boxes]):
            box = boxes[place]
            overlaps = [overlap(found.places[box], truth) for truth in truths]
            hit = False
            if overlaps:
                best = overlaps.index(max(overlaps))
                if overlaps[best] >= 0.5 and not taken[best]:
                    hit = taken[best] = True
            scores.append(float(found.classes[box, c]))
            hits.append(hit)
    total = int(true.classes[:, c].sum())
    if total == 0:
        return float("nan")
    recall, precision, right = [0.0], [0.0], 0
    for rank, place in enumerate(reversed_sort(scores), 1):
        right += hits[place]
        recall.append(right / total)
        precision.append(right / rank)
    recall, precision = [*recall, 1.0], [*precision, 0.0]
    for n in range(len(precision) - 2, -1, -1):
        precision[n] = max(precision[n], precision[n + 1])
    return sum((recall[n] - recall[n - 1]) * precision[n] for n in range(1, len(recall)))


def boxes(places: list[list[float]], frames: list[int], classes: list[list[float]]) -> Boxes:
    return Boxes(np.array(places, float), np.array(frames), np.array(classes))


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 4, 1000]))
def test_against_a_transcription(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)

    def some(count: int) -> Any:
        corners = rng.integers(0, 4, (count, 2)) / 8
        return np.concatenate([corners, corners + rng.integers(0, 5, (count, 2)) / 8], axis=1)

    number, truths = int(rng.integers(1, 25)), int(rng.integers(1, 15))
    scores = rng.integers(0, levels, (number, 3)) / levels
    found = Boxes(some(number), rng.integers(0, 4, number), scores)
    true = Boxes(some(truths), rng.integers(0, 4, truths), rng.random((truths, 3)) < 0.4)
    expected = [plain(found, true, c) for c in range(3)]
    np.testing.assert_allclose(of_boxes(found, true), expected, atol=1e-12)


BOX, HALF, OTHER = [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.2], [0.6, 0.6, 1.0, 1.0]


@pytest.mark.parametrize(
    ("places", "frames", "scores", "expected"),
    [
        ([BOX, OTHER], [0, 0], [0.9, 0.8], 1.0),
        ([BOX, OTHER], [1, 1], [0.9, 0.8], 0.0),  # another frame
        ([HALF, OTHER], [0, 0], [0.9, 0.8], 1.0),  # an overlap of exactly a half
        ([[0.0, 0.0, 0.4, 0.19], OTHER], [0, 0], [0.9, 0.8], 0.25),  # a little less: wrong, first
        ([BOX, BOX, OTHER], [0, 0, 0], [0.9, 0.8, 0.7], 0.5 + 0.5 * 2 / 3),  # one takes it
        ([HALF, BOX], [0, 0], [0.9, 0.8], 0.5),  # the better box comes too late
        ([BOX], [0], [0.1], 0.5),  # one true box is not found
    ],
)
def test_by_hand(
    places: list[list[float]], frames: list[int], scores: list[float], expected: float
) -> None:
    true = boxes([BOX, OTHER], [0, 0], [[1], [1]])
    found = boxes(places, frames, [[s] for s in scores])
    np.testing.assert_allclose(of_boxes(found, true), [expected], atol=1e-12)


def test_a_box_is_wrong_whose_nearest_true_box_is_taken() -> None:
    true = boxes([[0, 0, 1, 1], [0, 0, 1, 0.8]], [0, 0], [[1], [1]])
    found = boxes([[0, 0, 1, 1], [0, 0, 1, 0.95]], [0, 0], [[0.9], [0.8]])
    np.testing.assert_allclose(of_boxes(found, true), [0.5])


def test_of_true_boxes_that_overlap_alike_the_first_is_taken() -> None:
    left, middle, right = [0, 0, 0.75, 1], [0.125, 0, 0.875, 1], [0.25, 0, 1, 1]
    true = boxes([left, right], [0, 0], [[1], [1]])
    found = boxes([middle, right], [0, 0], [[0.9], [0.8]])
    np.testing.assert_allclose(of_boxes(found, true), [1.0])
    found = boxes([middle, left], [0, 0], [[0.9], [0.8]])
    np.testing.assert_allclose(of_boxes(found, true), [0.5])


def test_a_class_without_a_true_box_has_none_and_other_classes_do_not_matter() -> None:
    true = boxes([BOX, BOX], [0, 0], [[1, 0, 0], [0, 1, 0]])
    found = boxes([BOX], [0], [[0.2, 0.9, 0.5]])
    np.testing.assert_array_equal(of_boxes(found, true), [1.0, 1.0, np.nan])


def test_a_constant_predictor_has_the_share_of_boxes_of_the_class() -> None:
    count = 4000
    has = np.random.default_rng(0).random((count, 1)) < 0.3
    places, frames = np.tile([BOX], (count, 1)), np.arange(count)
    (found,) = of_boxes(Boxes(places, frames, np.ones((count, 1))), Boxes(places, frames, has))
    assert found == pytest.approx(has.mean(), abs=0.03)


def test_nothing_found() -> None:
    empty = Boxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros((0, 1)))
    np.testing.assert_array_equal(of_boxes(empty, boxes([BOX], [0], [[1]])), [0.0])
