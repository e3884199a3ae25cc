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
