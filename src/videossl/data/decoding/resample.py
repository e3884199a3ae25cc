"""Sample a video in time: which of its frames are on screen at the ticks of another rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TICK = 1e-6  # seconds: time stamps are fractions, and a frame that starts at a tick is on screen
HOLD = 10.0  # seconds: longer than any frame is shown. What is longer is a jump of the clock.


def on_screen(times: Sequence[float], fps: float) -> list[int]:
    """The frame on screen at ``times[0] + k / fps``, for every k up to the last frame.

    ``times`` are when the frames appear, in seconds, increasing. At a higher rate than the video's
    frames repeat, at a lower one some are left out; where its rate varies, both. No frame repeats
    for more than ``HOLD`` seconds: the clock is taken ``without_jumps``.
    """
    starts = np.asarray(without_jumps(times), np.float64) - times[0]
    ticks = np.arange(int((starts[-1] + TICK) * fps) + 1) / fps
    chosen: list[int] = (np.searchsorted(starts, ticks + TICK, side="right") - 1).tolist()
    return chosen


def within(times: Sequence[float], span: Sequence[float]) -> tuple[range, float]:
    """The frames that appear in a span of seconds, without its end, and when the first one does.

    Seconds count from the first frame, in the clock ``without_jumps``; ``times`` as above.
    """
    starts = np.asarray(without_jumps(times), np.float64) - times[0]
    first, last = np.searchsorted(starts + TICK, span).tolist()
    return range(first, last), float(starts[first]) if first < last else 0.0


def stamps(times: Sequence[float | None], fps: float) -> list[float] | None:
    """Time stamps of all frames, in seconds; those of a constant ``fps`` where they are unusable.

    Unusable are absent and unordered ones (AVI). None: there is no rate either.
    """
    known = [time for time in times if time is not None]
    if len(known) == len(times) and all(np.diff(known) > 0):
        return known
    return [number / fps for number in range(len(times))] if fps else None


def jumps(times: Sequence[float]) -> int:
    """How many frames would stay on screen for longer than ``HOLD``."""
    return int(np.count_nonzero(np.diff(times) > HOLD + TICK))


def without_jumps(times: Sequence[float]) -> list[float]:
    """The same times, but that a frame before a jump stays for the usual (median) time of others.

    A recorder whose clock was set, or files put one behind the other, leave gaps of hours, and
    nothing was on screen in them.
    """
    if not jumps(times):
        return list(times)
    gaps = np.diff(np.asarray(times, np.float64))
    gaps[gaps > HOLD + TICK] = _usual(gaps)
    starts: list[float] = (times[0] + np.concatenate(([0.0], np.cumsum(gaps)))).tolist()
    return starts


def believable_rate(times: Sequence[float], rate: float) -> float:
    """``rate``, frames per second, or that of the usual gap where the clock jumps.

    MP4's average rate is frames by length, so that a jump of hours makes it nearly 0.
    ``times``: when frames are shown, in seconds, in any order.
    """
    ordered = np.unique(np.asarray(times, np.float64))
    if not jumps(ordered.tolist()):
        return rate
    gaps = np.diff(ordered)
    return 1 / _usual(gaps) if gaps.min() <= HOLD + TICK else rate


def measured_rate(clock: Sequence[float], rate: float) -> float:
    """``rate``, or the mean rate of the frames where the two part by more than a frame.

    A rate of 25 beside frames at 24.98 is a second off after twenty minutes, and one of a variable
    rate says little. ``clock``: when each frame is shown, in seconds, increasing; without jumps.
    """
    length = clock[-1] - clock[0] if len(clock) > 1 and not jumps(clock) else 0.0
    if not length or abs(length * rate - (len(clock) - 1)) <= 1:
        return rate
    return (len(clock) - 1) / length


def _usual(gaps: NDArray[np.float64]) -> float:
    """The median of those that are no jumps, in seconds; ``HOLD`` where all are."""
    believable = gaps[gaps <= HOLD + TICK]
    return float(np.median(believable)) if len(believable) else HOLD
