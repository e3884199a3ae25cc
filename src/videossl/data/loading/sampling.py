"""Clip sampling: which frames of a video a clip takes. Pure index arithmetic.

Units: frame indices count decoded frames from 0; a stride is a step in frames; a clip of ``length``
frames at ``stride`` spans ``(length - 1) * stride + 1`` frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from videossl.needs import span as span

Indices = NDArray[np.int64]
# What of a video: its frames under the whole draw; its frames under the draw's crop and flip only,
# as grey levels 0 to 255; or its motion under crop and flip (see ``device_clips.py``).
Kind = Literal["augmented", "plain", "motion"]


@dataclass(frozen=True)
class ClipRequest:
    """One clip of a video: its frames, and which augmentation draw it takes."""

    frames: Indices  # (T,)
    draw_id: int  # clips of one video with the same number share one augmentation draw
    kind: Kind = "augmented"
    labels: tuple[float, ...] = ()  # what the method drew for it: classes, parameters, chances


def window(num_frames: int, start: int, length: int, stride: int) -> Indices:
    """Indices ``start + i * stride``, shape (length,).

    A video shorter than the span is played in a loop (indices modulo ``num_frames``): the playback
    speed stays what was asked for, which stretching the video to fit would silently change.
    """
    return (start + stride * np.arange(length, dtype=np.int64)) % num_frames


def random_start(rng: np.random.Generator, num_frames: int, span: int) -> int:
    """A uniform start among those that fit; any frame when none fits (the clip then loops)."""
    fits = num_frames - span + 1
    return int(rng.integers(fits if fits > 0 else num_frames))


def uniform_starts(num_frames: int, span: int, clips: int) -> list[int]:
    """Starts of ``clips`` clips spread evenly over a video, for deterministic testing.

    The first clip starts at frame 0 and the last ends at the last frame; a single clip is centred.
    """
    last = max(num_frames - span, 0)
    if clips == 1:
        return [last // 2]
    return [round(i * last / (clips - 1)) for i in range(clips)]


def around(num_frames: int, frame: int, length: int, stride: int) -> Indices:
    """Indices of a clip with ``frame`` in its middle, shape (length,).

    Where it would reach beyond the video, the first or last frame is repeated, as in SlowFast's
    loader of AVA: frames of another time would show something else.
    """
    places = frame + stride * (np.arange(length, dtype=np.int64) - length // 2)
    return np.clip(places, 0, num_frames - 1)


def cover(num_frames: int, length: int, rng: np.random.Generator) -> Indices:
    """A random frame of each of ``length`` equal segments of a video, shape (length,).

    Source: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.1.
    """
    edges = np.arange(length + 1) * num_frames / length
    return _inside(num_frames, edges[:-1] + rng.random(length) * np.diff(edges))


def cover_at(num_frames: int, length: int, clip: int, clips: int) -> Indices:
    """The frame at one of ``clips`` even places in each segment; of one clip, in the middle."""
    places = np.arange(length) + (clip + 0.5) / clips
    return _inside(num_frames, places * num_frames / length)


def _inside(num_frames: int, places: NDArray[np.float64]) -> Indices:
    """The frames at real places from 0 to ``num_frames``."""
    return np.minimum(places.astype(np.int64), num_frames - 1)
