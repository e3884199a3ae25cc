"""Metrics of many samples at once against the same metrics of each sample's own arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream import average_precision, metrics, weighted
from videossl.downstream.objectives import detection

LEVELS = st.sampled_from([1, 2, 4, 1000])


def samples_of(rng: np.random.Generator, count: int, samples: int = 12) -> Any:
    picks = rng.integers(count, size=(samples, count))
    return np.stack([np.bincount(own, minlength=count) for own in picks], axis=1).astype(np.int32)


def one_by_one(predictions: Any, measure: Any, counts: Any) -> list[float]:
    every = np.arange(len(counts))
    return [measure(metrics.resampled(predictions, np.repeat(every, own))) for own in counts.T]


def ranges(rng: np.random.Generator, examples: int, boxes: int) -> Any:
    ends = np.sort(rng.integers(0, boxes + 1, examples - 1))
    return np.stack([np.append(0, ends), np.append(ends, boxes)], axis=1)


@given(seed=st.integers(0, 10**6), levels=LEVELS)
def test_frame_map(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    examples, found, true = (int(rng.integers(1, most)) for most in (7, 30, 20))

    def some(count: int) -> Any:
        corners = rng.integers(0, 3, (count, 2)) / 8
        return np.concatenate([corners, corners + rng.integers(2, 5, (count, 2)) / 8], axis=1)[None]

    predictions = {
        "examples": np.arange(examples),
        "found_places": some(found),
        "true_places": some(true),
        "found_range": ranges(rng, examples, found),
        "true_range": ranges(rng, examples, true),
        "scores": (rng.integers(0, levels, (1, found, 4)) / levels).astype(np.float32),
        "labels": rng.random((1, true, 4)) < 0.4,
        "evaluated": np.array([[0, 2, 3]]),
    }
    counts = samples_of(rng, examples)
    wanted = one_by_one(predictions, detection.frame_map, counts)
    found_ = weighted.frame_map(predictions)(counts)
    np.testing.assert_allclose(found_, wanted, rtol=0, atol=1e-12)


def test_copies_of_an_example_keep_their_boxes_together() -> None:
    box = [0.0, 0.0, 1.0, 1.0]
    predictions = {
        "examples": np.arange(1),
        "found_places": np.array([[box, [0.0, 0.0, 0.1, 0.1]]]),
        "true_places": np.array([[box]]),
        "found_range": np.array([[0, 2]]),
        "true_range": np.array([[0, 1]]),
        "scores": np.full((1, 2, 1), 0.5),
        "labels": np.ones((1, 1, 1), bool),
        "evaluated": np.array([[0]]),
    }
    of = weighted.frame_map(predictions)
    found = of(np.array([[1, 2, 0]], np.int32))
    np.testing.assert_allclose(found, [1.0, (1 + 2 / 3) / 2, np.nan])


@given(seed=st.integers(0, 10**6), levels=LEVELS)
def test_map_of_several_classes(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    labels = rng.random((count, 5)) < 0.2
    scores = rng.integers(0, levels, (count, 5)) / levels
    predictions = {"examples": np.arange(count), "labels": labels, "scores": scores}

    def measure(own: Any) -> float:
        return average_precision.of_videos(own["labels"], own["scores"])

    counts = samples_of(rng, count)
    wanted = one_by_one(predictions, measure, counts)
    found = weighted.video_map(predictions)(counts)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["precision", "recall", "F1"])
@given(seed=st.integers(0, 10**6))
def test_macro(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    labels, scores = rng.integers(5, size=count), rng.random((count, 6))
    predictions = {"examples": np.arange(count), "labels": labels, "scores": scores}

    def measure(own: Any) -> float:
        return metrics.macro(own["labels"], own["scores"].argmax(axis=1))[f"macro_{name}"]

    counts = samples_of(rng, count)
    wanted = one_by_one(predictions, measure, counts)
    found = weighted.macro(name)(predictions)(counts)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
