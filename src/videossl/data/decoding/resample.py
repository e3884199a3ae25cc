"""Sample a video in time: which of its frames are on screen at the ticks of another rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TICK = 1e-6  # seconds: time stamps are fractions, and a frame that starts at a tick is on screen


def on_screen(times: Sequence[float], fps: float) -> list[int]:
    """The frame on screen at ``times[0] + k / fps``, for every k up to the last frame.

    ``times`` are when the frames appear, in seconds, increasing. At a higher rate than the video's
    frames repeat, at a lower one some are left out; where its rate varies, both.
    """
    starts = np.asarray(times, np.float64) - times[0]
    ticks = np.arange(int((starts[-1] + TICK) * fps) + 1) / fps
    found: list[int] = (np.searchsorted(starts, ticks + TICK, side="right") - 1).tolist()
    return found


def stamps(times: Sequence[float | None], fps: float) -> list[float] | None:
    """Time stamps of all frames, in seconds; those of a constant ``fps`` where they are unusable.

    Unusable are absent and unordered ones (AVI). None: there is no rate either.
    """
    known = [time for time in times if time is not None]
    if len(known) == len(times) and all(np.diff(known) > 0):
        return known
    return [number / fps for number in range(len(times))] if fps else None
