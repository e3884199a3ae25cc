"""Decode one video file, in order and whole: frames as they come, and the facts about them.

Frames are never fetched by index: on files with B-frames in AVI (HMDB51) every library that seeks
returns neighbours of the frame that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from videossl.data.decoding import decord_reader, resample
from videossl.data.decoding.container import open_film
from videossl.data.decoding.locate import Unreadable
from videossl.data.decoding.probe import Facts, Frames, probe

Image = NDArray[np.uint8]  # (H, W, 3), RGB
Kept = TypeVar("Kept")  # what the caller makes of a frame

# Area: decimation without aliasing. The other two: the same bits on every processor.
AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
ENDING = 1.0  # seconds that a file may lack of its span without a word
BAD_PACKETS = 0.1  # a video with a larger share of undecodable packets is rejected
READ_AHEAD_BYTES = 1 << 30  # decord buffers frames without bound while they wait to be taken
ROUNDED = 0.02  # a pixel aspect this near to 1 is that of rounded sizes, not of the camera


@dataclass(frozen=True)
class Part:
    """The frames of a file that are wanted, and when the first of them appears, in seconds."""

    numbers: range
    begin: float = 0.0
    whole: bool = True
    short: str = ""  # what is to be said of a file that ends within its span


@dataclass(frozen=True)
class Decoded(Generic[Kept]):
    """A decoded video: what was kept of its frames, and facts. Sizes are in pixels, after rotation.

    ``source_height`` and ``source_width`` count the file's own pixels, which are
    ``pixel_aspect`` ("16:15") times as wide as they are high; those of the frames are square.
    """

    frames: list[Kept]
    times: list[float | None]  # when each frame appears, in seconds
    height: int
    width: int
    source_height: int
    source_width: int
    fps: float  # of the frames here; 0.0: the container does not say
    source_fps: float
    rotation: int  # degrees that the frames were turned by, as the file asks
    decoder: str
    warnings: list[str]
    pixel_aspect: str = "1:1"
    begin: float = 0.0  # when the first frame here appears, in seconds from the file's first


def target_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with that short side, both even; never enlarged."""
    shortest = min(height, width)
    if shortest <= short_side:
        return height - height % 2, width - width % 2

    def scaled(side: int) -> int:
        return (side * short_side + shortest) // (2 * shortest) * 2  # to the nearest even number

    return scaled(height), scaled(width)


def squared(height: int, width: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """(height, width) at which pixels are square; no side grows."""
    if abs(pixel_aspect - 1) <= ROUNDED:
        return height, width
    if pixel_aspect > 1:
        return max(2, round(height / pixel_aspect)), width
    return height, max(2, round(width * pixel_aspect))


def decode(
    path: Path,
    backend: str,
    short_side: int,
    keep: Callable[[Image], Kept],
    fps: float | None = None,
    span: Sequence[float] | None = None,
) -> Decoded[Kept]:
    """All frames of ``path`` in order, resized to ``short_side``: what ``keep`` makes of them.

    A decoder that fails midway is followed by the other, and ``keep`` is given all frames again.

    With ``fps``, the frames on screen at that many moments a second instead of all. With ``span``,
    those of the seconds from the one to the other; the file is not decoded beyond them.

    With ``backend`` "decord", what decord cannot read whole is read with PyAV instead, and a
    warning says why. Both give the same frames at the same times.

    Raises:
        Unreadable: FFmpeg cannot open the file, no frame can be decoded, too much is corrupt, or
            nothing of the ``span`` is there.
        MemoryError: a frame does not fit into memory.
    """
    try:
        # Absolute, because FFmpeg takes the relative name "concat:a" for a protocol.
        return _at_rate(_decode(path.absolute(), backend, short_side, keep, fps, span), fps)
    except MemoryError:
        raise
    except FFmpegError as error:  # its whole text would name the folder
        raise Unreadable(f"{type(error).__name__}: {error.strerror}") from None


def _at_rate(decoded: Decoded[Kept], fps: float | None) -> Decoded[Kept]:
    if fps is None:
        return decoded
    times = resample.stamps(decoded.times, decoded.fps)
    if times is None:
        raise Unreadable("no time stamps and no frame rate, so decode.fps cannot apply")
    chosen = resample.on_screen(times, fps)
    repeated = len(chosen) - len(set(chosen))
    jumps = resample.jumps(times)
    faults = {
        f"jumps of the clock, taken for no time: {jumps}": jumps,
        f"{repeated} frames repeated to reach {fps:g} fps": repeated,
    }
    return replace(
        decoded,
        frames=[decoded.frames[index] for index in chosen],
        times=[times[index] for index in chosen],
        fps=fps,
        warnings=[*decoded.warnings, *(text for text, holds in faults.items() if holds)],
    )


def _decode(
    path: Path,
    backend: str,
    short_side: int,
    keep: Callable[[Image], Kept],
    fps: float | None,
    span: Sequence[float] | None,
) -> Decoded[Kept]:
    facts = probe(path)
    part = _part(facts, span) if span else Part(range(facts.packets))
    warnings = []
    if backend == "decord":
        reason = _unfit_for_decord(facts, fps)
        if reason is None:
            try:
                return _with_decord(path, facts, part, short_side, keep, fps is not None)
            except decord_reader.Failed as error:
                reason = str(error)
        warnings = [f"decoded with PyAV: {reason}"]
    return _with_pyav(path, facts, part, short_side, keep, warnings)


def _part(facts: Facts, span: Sequence[float]) -> Part:
    """The frames of a span of seconds; of a file without a clock by its constant rate."""
    where = f"its annotations are of seconds {span[0]:g} to {span[1]:g}"
    times = facts.clock
    if not times and facts.fps:
        times = [number / facts.fps for number in range(facts.packets)]
    if not times:
        raise Unreadable(f"no time stamps and no frame rate; {where}")
    numbers, begin = resample.within(times, span)
    end = times[-1] - times[0]
    text = f"it ends after {end:.1f} s; {where}"
    if not numbers:
        raise Unreadable(text)
    # as far as it goes: which annotations it lacks is found when examples are selected
    return Part(numbers, begin, whole=False, short=text if end + ENDING < span[1] else "")


def _stored_size(facts: Facts, short_side: int) -> tuple[int, int]:
    """(height, width) of the stored frames, before rotation."""
    return target_size(*squared(facts.height, facts.width, facts.pixel_aspect), short_side)


# ------------------------------------------------------------------------------------ PyAV


def _with_pyav(
    path: Path,
    facts: Facts,
    part: Part,
    short_side: int,
    keep: Callable[[Image], Kept],
    warnings: list[str],
) -> Decoded[Kept]:
    height, width = _stored_size(facts, short_side)
    turns = facts.rotation // 90 % 4
    reformatter = VideoReformatter()  # one for all frames: it keeps its tables
    kept: list[Kept] = []
    times: list[float | None] = []
    resized = False
    container, stream = open_film(path)
    with container:
        frames = Frames(container, stream)
        # a file may hold more frames than packets, so a whole one is read to its end
        for frame in islice(frames, part.numbers.start, None if part.whole else part.numbers.stop):
            resized |= (frame.height, frame.width) != (facts.height, facts.width)
            image = _resize(reformatter, frame, height, width)
            kept.append(keep(np.ascontiguousarray(np.rot90(image, turns))))
            times.append(frame.time)
    if frames.bad_packets > BAD_PACKETS * frames.packets:
        raise Unreadable(f"{frames.bad_packets} of {frames.packets} packets are corrupt")
    faults = {
        f"{frames.bad_packets} of {frames.packets} packets are corrupt": frames.bad_packets,
        f"frames marked corrupt: {frames.corrupt_frames}": frames.corrupt_frames,
        "the file is cut short": frames.cut_short,
        "the frame size changes": resized,
        facts.early_end: facts.early_end,
        part.short: part.short,
        f"{len(kept)} frames decoded, the header says {facts.header_frames}": (
            part.whole and facts.header_frames not in (0, len(kept))
        ),
        f"{len(kept)} of {len(part.numbers)} frames of the span decoded": (
            not part.whole and len(kept) < len(part.numbers)
        ),
    }
    warnings = warnings + [text for text, holds in faults.items() if holds]
    return _decoded(kept, times, facts, part, short_side, "pyav", warnings)


def _resize(reformatter: VideoReformatter, frame: av.VideoFrame, height: int, width: int) -> Image:
    resized = reformatter.reformat(
        frame, width=width, height=height, format="rgb24", interpolation=AREA, threads=1
    )
    return np.asarray(resized.to_ndarray(), np.uint8)


def _decoded(
    kept: list[Kept],
    times: list[float | None],
    facts: Facts,
    part: Part,
    short_side: int,
    decoder: str,
    warnings: list[str],
) -> Decoded[Kept]:
    size = _stored_size(facts, short_side)
    source = (facts.height, facts.width)
    if facts.rotation // 90 % 2:
        size, source = size[::-1], source[::-1]
    rates = (facts.fps, facts.fps)
    clock = facts.clock if part.whole else facts.clock[part.numbers.start : part.numbers.stop]
    if clock and len(clock) == len(times):
        times = list(clock)
    aspect = f"{facts.pixel_aspect.numerator}:{facts.pixel_aspect.denominator}"
    turned = facts.rotation
    return Decoded(
        kept, times, *size, *source, *rates, turned, decoder, warnings, aspect, part.begin
    )


# ------------------------------------------------------------------------------------ decord


def _unfit_for_decord(facts: Facts, fps: float | None) -> str | None:
    """Why decord would read the file wrongly or not at all, or None."""
    if facts.rotation:
        return f"rotated by {facts.rotation} degrees"
    if facts.bits > 8:
        return f"more than 8 bits per channel ({facts.pixels})"
    if facts.reordered_avi:
        return "B-frames in AVI, which decord miscounts"
    if facts.overruled:
        return "a still picture beside the film"
    if fps is not None and not facts.clock:
        return "its clock runs backwards or is not known"
    if 3 * facts.height * facts.width * facts.packets > READ_AHEAD_BYTES:
        return f"decord might hold more than {READ_AHEAD_BYTES >> 20} MiB of frames at once"
    return None


def _with_decord(
    path: Path,
    facts: Facts,
    part: Part,
    short_side: int,
    keep: Callable[[Image], Kept],
    timed: bool,
) -> Decoded[Kept]:
    height, width = _stored_size(facts, short_side)
    as_it_is = (height, width) == (facts.height, facts.width)
    reformatter = VideoReformatter()
    kept: list[Kept] = []
    stop = None if part.whole else part.numbers.stop
    for image in islice(decord_reader.frames(path, stop), part.numbers.start, None):
        if image.shape != (facts.height, facts.width, 3):
            raise decord_reader.Failed("decord reads another frame size")
        if not as_it_is:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            image = np.ascontiguousarray(_resize(reformatter, frame, height, width))
        kept.append(keep(image))
    # Another number: of another stream, or not the frames that the clock tells the times of.
    if (facts.streams > 1 or timed or not part.whole) and len(kept) != len(part.numbers):
        raise decord_reader.Failed("decord reads another number of frames")
    warnings = [text for text in (facts.early_end, part.short) if text]
    if part.whole and facts.header_frames not in (0, len(kept)):
        warnings = [f"{len(kept)} frames decoded, the header says {facts.header_frames}"]
    times: list[float | None] = [None] * len(kept)
    return _decoded(kept, times, facts, part, short_side, "decord", warnings)
