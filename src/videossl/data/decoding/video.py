"""Decode one video file, in order and whole: frames as they come, and the facts about them.

Frames are never fetched by index: on files with B-frames in AVI (HMDB51) every library that seeks
returns neighbours of the frame that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from videossl.data.decoding import decord_reader, resample
from videossl.data.decoding.locate import Unreadable

Image = NDArray[np.uint8]  # (H, W, 3), RGB

# Area: decimation without aliasing. The other two: the same bits on every processor.
AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
BAD_PACKETS = 0.1  # a video with a larger share of undecodable packets is rejected
READ_AHEAD_BYTES = 1 << 30  # decord buffers frames without bound while they wait to be taken
PLAYLISTS = {"concat", "dash", "hls", "sdp"}  # formats that are lists of other files
LOCAL = {"protocol_whitelist": "file"}  # a playlist must not reach into the network


@dataclass(frozen=True)
class Decoded:
    """A decoded video: encoded frames and facts. Sizes are in pixels, after rotation."""

    frames: list[bytes]
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


@dataclass(frozen=True)
class _Facts:
    """What the container and the first frame say; sizes as coded, before rotation."""

    height: int
    width: int
    rotation: int  # degrees, as PyAV counts them
    fps: float
    header_frames: int  # 0: the header does not say; often wrong where it does
    packets: int
    pixels: str
    bits: int
    reordered_avi: bool
    early_end: str  # how much is missing where the header counts no frames; empty: nothing


def target_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with that short side, both even; never enlarged."""
    shortest = min(height, width)
    if shortest <= short_side:
        return height - height % 2, width - width % 2

    def scaled(side: int) -> int:
        return (side * short_side + shortest) // (2 * shortest) * 2  # to the nearest even number

    return scaled(height), scaled(width)


def decode(
    path: Path,
    backend: str,
    short_side: int,
    encode: Callable[[Image], bytes],
    fps: float | None = None,
) -> Decoded:
    """All frames of ``path``, resized to ``short_side``, each as ``encode`` stores it.

    With ``fps``, the frames on screen at that many moments a second instead of all.

    With ``backend`` "decord", what decord cannot read whole is read with PyAV instead, and a
    warning says why.

    Raises:
        Unreadable: FFmpeg cannot open the file, no frame can be decoded, or too much is corrupt.
        MemoryError: a frame does not fit into memory.
    """
    try:
        # Absolute, because FFmpeg takes the relative name "concat:a" for a protocol.
        return _at_rate(_decode(path.absolute(), backend, short_side, encode), fps)
    except MemoryError:
        raise
    except FFmpegError as error:  # its whole text would name the folder
        raise Unreadable(f"{type(error).__name__}: {error.strerror}") from None


def _at_rate(decoded: Decoded, fps: float | None) -> Decoded:
    if fps is None:
        return decoded
    times = resample.stamps(decoded.times, decoded.fps)
    if times is None:
        raise Unreadable("no time stamps and no frame rate, so decode.fps cannot apply")
    chosen = resample.on_screen(times, fps)
    repeated = len(chosen) - len(set(chosen))
    warnings = [f"{repeated} frames repeated to reach {fps:g} fps"] if repeated else []
    return replace(
        decoded,
        frames=[decoded.frames[index] for index in chosen],
        times=[times[index] for index in chosen],
        fps=fps,
        warnings=[*decoded.warnings, *warnings],
    )


def _decode(path: Path, backend: str, short_side: int, encode: Callable[[Image], bytes]) -> Decoded:
    facts = _probe(path)
    warnings = []
    if backend == "decord":
        reason = _unfit_for_decord(facts)
        if reason is None:
            try:
                return _with_decord(path, facts, short_side, encode)
            except decord_reader.Failed as error:
                reason = str(error)
        warnings = [f"decoded with PyAV: {reason}"]
    return _with_pyav(path, facts, short_side, encode, warnings)


# ------------------------------------------------------------------------------------ PyAV


def _open(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    # Metadata in any encoding: HMDB51 has titles that are not UTF-8.
    container = av.open(str(path), metadata_errors="ignore", options=LOCAL)
    if container.format.name in PLAYLISTS:
        container.close()
        raise Unreadable(f"a playlist, not a video ({container.format.name})")
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        container.close()
        raise Unreadable("no video stream" if stream is None else "no decoder for its codec")
    assert isinstance(stream, av.VideoStream)
    stream.codec_context.thread_count = 1  # children decode in parallel, one video each
    return container, stream


class _Frames:
    """Iterates over all frames that can be decoded and counts what cannot."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.container, self.stream = container, stream
        self.packets = self.bad_packets = self.corrupt_frames = 0
        self.end = 0.0  # of the last packet read, in seconds
        self.cut_short = False

    def __iter__(self) -> Iterator[av.VideoFrame]:
        for packet in self.demuxed():
            self.packets += packet is not None
            try:
                frames = self.stream.codec_context.decode(packet)
            except MemoryError:  # PyAV's is an FFmpegError too
                raise
            except FFmpegError:
                self.bad_packets += 1
                continue
            for frame in frames:
                self.corrupt_frames += frame.is_corrupt
                yield frame

    def demuxed(self) -> Iterator[av.Packet[av.VideoStream] | None]:
        """The packets, then None, which flushes the decoder."""
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:  # PyAV ends with an empty packet of its own
                    self.end = max(self.end, _end(packet))
                    yield packet
        except InvalidDataError:
            self.cut_short = True
        yield None


def _probe(path: Path) -> _Facts:
    container, stream = _open(path)
    with container:
        frames = _Frames(container, stream)
        frame = next(iter(frames), None)
        if frame is None:
            raise Unreadable(f"no frame in {frames.packets} packets ({frames.bad_packets} corrupt)")
        if min(frame.height, frame.width) < 2:
            raise Unreadable(
                f"frames of {frame.height}x{frame.width} pixels; both must be 2 or more"
            )
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else 0.0
        packets, end = _rest(frames)
        return _Facts(
            height=frame.height,
            width=frame.width,
            rotation=frame.rotation,
            fps=fps,
            header_frames=stream.frames,
            packets=frames.packets + packets,
            pixels=frame.format.name,
            bits=max(component.bits for component in frame.format.components),
            reordered_avi=container.format.name == "avi"
            and bool(stream.codec_context.has_b_frames),
            early_end="" if stream.frames else _early_end(container, end, fps),
        )


def _end(packet: av.Packet[Any]) -> float:
    """When it ends, in seconds; 0.0: it has no time."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _rest(frames: _Frames) -> tuple[int, float]:
    """How many packets were not read yet, and when the file's last one ends, sound included."""
    packets, end = 0, frames.end
    with suppress(InvalidDataError):  # decoding meets it again and says so
        for packet in frames.container.demux():
            packets += packet.stream is frames.stream and bool(packet.size)
            end = max(end, _end(packet))
    return packets, end


def _early_end(container: av.container.InputContainer, end: float, fps: float) -> str:
    """Matroska counts no frames, and FFmpeg says nothing when such a file is cut short."""
    length = (container.duration or 0) / av.time_base
    if fps and length - end > 0.5 / fps:
        return f"the file ends after {end:.2f} s, its header says {length:.2f} s"
    return ""


def _with_pyav(
    path: Path,
    facts: _Facts,
    short_side: int,
    encode: Callable[[Image], bytes],
    warnings: list[str],
) -> Decoded:
    height, width = target_size(facts.height, facts.width, short_side)
    turns = facts.rotation // 90 % 4
    reformatter = VideoReformatter()  # one for all frames: it keeps its tables
    encoded: list[bytes] = []
    times: list[float | None] = []
    resized = False
    container, stream = _open(path)
    with container:
        frames = _Frames(container, stream)
        for frame in frames:
            resized |= (frame.height, frame.width) != (facts.height, facts.width)
            image = _resize(reformatter, frame, height, width)
            encoded.append(encode(np.ascontiguousarray(np.rot90(image, turns))))
            times.append(frame.time)
    if frames.bad_packets > BAD_PACKETS * frames.packets:
        raise Unreadable(f"{frames.bad_packets} of {frames.packets} packets are corrupt")
    faults = {
        f"{frames.bad_packets} of {frames.packets} packets are corrupt": frames.bad_packets,
        f"frames marked corrupt: {frames.corrupt_frames}": frames.corrupt_frames,
        "the file is cut short": frames.cut_short,
        "the frame size changes": resized,
        facts.early_end: facts.early_end,
        f"{len(encoded)} frames decoded, the header says {facts.header_frames}": (
            facts.header_frames not in (0, len(encoded))
        ),
    }
    warnings = warnings + [text for text, holds in faults.items() if holds]
    return _decoded(encoded, times, facts, short_side, "pyav", warnings)


def _resize(reformatter: VideoReformatter, frame: av.VideoFrame, height: int, width: int) -> Image:
    resized = reformatter.reformat(
        frame, width=width, height=height, format="rgb24", interpolation=AREA, threads=1
    )
    return np.asarray(resized.to_ndarray(), np.uint8)


def _decoded(
    encoded: list[bytes],
    times: list[float | None],
    facts: _Facts,
    short_side: int,
    decoder: str,
    warnings: list[str],
) -> Decoded:
    size = target_size(facts.height, facts.width, short_side)
    source = (facts.height, facts.width)
    if facts.rotation // 90 % 2:
        size, source = size[::-1], source[::-1]
    rates = (facts.fps, facts.fps)
    return Decoded(encoded, times, *size, *source, *rates, facts.rotation, decoder, warnings)


# ------------------------------------------------------------------------------------ decord


def _unfit_for_decord(facts: _Facts) -> str | None:
    """Why decord would read the file wrongly or not at all, or None."""
    if facts.rotation:
        return f"rotated by {facts.rotation} degrees"
    if facts.bits > 8:
        return f"more than 8 bits per channel ({facts.pixels})"
    if facts.reordered_avi:
        return "B-frames in AVI, which decord miscounts"
    if 3 * facts.height * facts.width * facts.packets > READ_AHEAD_BYTES:
        return f"decord might hold more than {READ_AHEAD_BYTES >> 20} MiB of frames at once"
    return None


def _with_decord(
    path: Path, facts: _Facts, short_side: int, encode: Callable[[Image], bytes]
) -> Decoded:
    height, width = target_size(facts.height, facts.width, short_side)
    keep = (height, width) == (facts.height, facts.width)
    reformatter = VideoReformatter()
    encoded: list[bytes] = []
    times: list[float | None] = []
    for image, time in decord_reader.frames(path):
        if image.shape != (facts.height, facts.width, 3):
            raise decord_reader.Failed("decord reads another frame size")
        if not keep:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            image = np.ascontiguousarray(_resize(reformatter, frame, height, width))
        encoded.append(encode(image))
        times.append(time)
    warnings = [facts.early_end] if facts.early_end else []
    if facts.header_frames not in (0, len(encoded)):
        warnings = [f"{len(encoded)} frames decoded, the header says {facts.header_frames}"]
    return _decoded(encoded, times, facts, short_side, "decord", warnings)
