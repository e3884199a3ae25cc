"""What a video file says of itself: read once, packet by packet, before it is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError

from videossl.data.decoding import resample
from videossl.data.decoding.container import open_film
from videossl.data.decoding.locate import Unreadable

REORDERED = 16  # frames that a codec may hold back: H.264's limit
ASPECTS = Fraction(1, 4), Fraction(4)  # of a pixel; others are no one's camera
LENGTH_IN_HEADER = {"matroska", "mov", "flv"}  # of other formats FFmpeg estimates it
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # how Matroska's two elements begin


@dataclass(frozen=True)
class Facts:
    """What the container and the first frame say; sizes as coded, before rotation."""

    height: int
    width: int
    pixel_aspect: Fraction  # width of a pixel by its height
    rotation: int  # degrees, as PyAV counts them
    fps: float  # 0.0: unknown
    header_frames: int  # 0: the header does not say; often wrong where it does
    packets: int
    pixels: str
    bits: int
    reordered_avi: bool
    overruled: bool  # the film is not the stream that FFmpeg would take by itself
    streams: int  # of video, stills included
    clock: list[float]  # when each frame is shown, in seconds, in that order; empty: not known
    early_end: str  # how much is missing where the header counts no frames; empty: nothing


@dataclass
class Stamps:
    """The time stamps of all packets, in the order of the file; seconds, None where absent."""

    shown: list[float | None] = field(default_factory=list)
    decoded: list[float | None] = field(default_factory=list)

    def add(self, packet: av.Packet[Any]) -> None:
        """Note the next packet's."""
        base = packet.time_base
        for times, stamp in ((self.shown, packet.pts), (self.decoded, packet.dts)):
            times.append(None if stamp is None or base is None else float(stamp * base))


class Frames:
    """Iterates over all frames that can be decoded and counts what cannot."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.container, self.stream = container, stream
        self.packets = self.bad_packets = self.corrupt_frames = 0
        self.cut_short = False
        self.stamps = Stamps()

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
                    self.stamps.add(packet)
                    yield packet
        except InvalidDataError:
            self.cut_short = True
        yield None


def probe(path: Path) -> Facts:
    """Read the whole file, and decode its first frame.

    Raises:
        Unreadable: it has no frame, or one of less than 2x2 pixels.
        FFmpegError: FFmpeg cannot open it.
    """
    container, stream = open_film(path)
    with container:
        frames = Frames(container, stream)
        frame = next(iter(frames), None)
        if frame is None:
            raise Unreadable(f"no frame in {frames.packets} packets ({frames.bad_packets} corrupt)")
        if min(frame.height, frame.width) < 2:
            raise Unreadable(
                f"frames of {frame.height}x{frame.width} pixels; both must be 2 or more"
            )
        rate = stream.average_rate or stream.guessed_rate
        end = _read_on(frames)
        clock = trusted(frames.stamps, int(stream.codec_context.has_b_frames))
        shown = [time for time in frames.stamps.shown if time is not None]
        return Facts(
            height=frame.height,
            width=frame.width,
            pixel_aspect=_pixel_aspect(stream),
            rotation=frame.rotation,
            fps=resample.measured_rate(
                clock, resample.believable_rate(shown, float(rate) if rate else 0.0)
            ),
            header_frames=stream.frames,
            packets=len(frames.stamps.shown),
            pixels=frame.format.name,
            bits=max(component.bits for component in frame.format.components),
            reordered_avi=container.format.name == "avi"
            and bool(stream.codec_context.has_b_frames),
            overruled=stream is not container.streams.best("video"),
            streams=len(container.streams.video),
            clock=clock,
            early_end="" if stream.frames else _early_end(path, container, end, rate),
        )


def trusted(stamps: Stamps, held_back: int) -> list[float]:
    """When each frame is shown, in that order; empty where the stamps contradict themselves.

    ``held_back`` is how many frames the decoder holds back: with 0 the frames are in order.
    """
    if not stamps.shown or None in stamps.shown:
        return []
    shown = np.array(stamps.shown, np.float64)
    decoded = [time for time in stamps.decoded if time is not None]
    order = np.argsort(shown, kind="stable")
    moved = int(np.abs(order - np.arange(len(order))).max())
    increasing = all(np.diff(decoded) > 0) and all(np.diff(shown[order]) > 0)
    if not increasing or moved > (REORDERED if held_back else 0):
        return []
    clock: list[float] = shown[order].tolist()
    return clock


def _pixel_aspect(stream: av.VideoStream) -> Fraction:
    """1 where the file says nothing, or nothing that can be true."""
    aspect = stream.sample_aspect_ratio
    low, high = ASPECTS
    return aspect if aspect and low <= aspect <= high else Fraction(1)


def _read_on(frames: Frames) -> float:
    """Read the packets that were not read yet; when the file's last one ends, sound included."""
    shown = frames.stamps.shown
    end = max((time for time in shown if time is not None), default=0.0)
    with suppress(InvalidDataError):  # decoding meets it again and says so
        for packet in frames.container.demux():
            if not packet.size:
                continue
            if packet.stream is frames.stream:
                frames.stamps.add(packet)
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


def _early_end(
    path: Path, container: av.container.InputContainer, end: float, rate: Fraction | None
) -> str:
    """Matroska counts no frames, and FFmpeg says nothing when such a file is cut short."""
    told = LENGTH_IN_HEADER & set(container.format.name.split(","))
    length = (container.duration or 0) / av.time_base
    # FLV does not say how long its last frame lasts, and MP4 rounds; Matroska does neither.
    slack = 0.5 if "matroska" in told else 1.5
    if not told or not rate or length - end <= slack / rate or _is_whole_matroska(path):
        return ""
    return f"the file ends after {end:.2f} s, its header says {length:.2f} s"


def _is_whole_matroska(path: Path) -> bool:
    """Whether this is a Matroska file that is as long as it says."""
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.startswith(EBML):
        return False
    size, place = _ebml_size(start, len(EBML))
    place += size
    if start[place : place + len(SEGMENT)] != SEGMENT:
        return False
    size, place = _ebml_size(start, place + len(SEGMENT))
    return 0 <= size <= path.stat().st_size - place


def _ebml_size(data: Sequence[int], place: int) -> tuple[int, int]:
    """A size in EBML's variable length, and where it ends; -1: unknown (a live recording)."""
    first = data[place] if place < len(data) else 0
    width = 9 - first.bit_length()  # 1 to 8 bytes: as many as leading zero bits, and one
    if width > 8 or place + width > len(data):
        return -1, place
    unknown = (1 << 7 * width) - 1
    value = int.from_bytes(bytes(data[place : place + width])) & unknown
    return (-1 if value == unknown else value), place + width
