"""Open a video file with FFmpeg: which formats are read, which of its streams is the film."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import av
from av.error import ArgumentError, InvalidDataError

from videossl.data.decoding.locate import Unreadable

# FFmpeg's demuxers of videos. All others are refused: those of text (tty, cdg: a .txt file becomes
# frames), of numbered pictures (image2), of lists of other files (concat, hls, dash, sdp). The two
# of single pictures are read, so that such a file is refused for having one frame.
FORMATS = (
    "avi",
    "matroska",  # and WebM
    "mov",  # MP4, QuickTime, 3GP
    "mpeg",  # program stream, VOB
    "mpegts",
    "mpegvideo",
    "m4v",
    "h264",
    "hevc",
    "vvc",
    "av1",
    "obu",
    "ivf",
    "vc1",
    "dirac",
    "flv",
    "live_flv",
    "kux",
    "asf",  # WMV
    "asf_o",
    "ogg",
    "rm",
    "nsv",
    "wtv",
    "mxf",
    "gxf",
    "nut",
    "dv",
    "mjpeg",
    "gif",
    "apng",
    "yuv4mpegpipe",
    "jpeg_pipe",
    "png_pipe",
)
PLAYLISTS = {"concat", "dash", "hls", "sdp"}  # formats that are lists of other files
REFUSED = "not on whitelist"  # how FFmpeg says that a format is not among those allowed
OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",  # no file may reach into the network
}


def open_film(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    """The open file and its film: the video stream that is no still picture, as a cover is.

    Raises:
        Unreadable: the file is of no allowed format, or has no film that can be decoded.
        FFmpegError: FFmpeg cannot open the file.
    """
    container = _open(path)
    try:
        stream = _film(path, container)
    except BaseException:
        container.close()
        raise
    if stream.codec_context is None:
        container.close()
        raise Unreadable("no decoder for its codec")
    stream.codec_context.thread_count = 1  # children decode in parallel, one video each
    return container, stream


def _open(path: Path) -> av.container.InputContainer:
    try:
        # Metadata in any encoding: HMDB51 has titles that are not UTF-8.
        return av.open(str(path), metadata_errors="ignore", options=OPTIONS)
    except ArgumentError:
        name = _refused_format(path)
        if name is None:
            raise
    if name in PLAYLISTS:
        raise Unreadable(f"a playlist, not a video ({name})")
    raise Unreadable(f"not a video: FFmpeg takes it for '{name}', which is no video format")


def _refused_format(path: Path) -> str | None:
    """The format for which FFmpeg refused to open the file; only its log says so."""
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # else the second such file gets no message
    try:
        with av.logging.Capture() as log, suppress(ArgumentError):
            av.open(str(path), metadata_errors="ignore", options=OPTIONS).close()
    finally:
        av.logging.set_level(None)
    return next((name for _, name, text in log if REFUSED in text), None)


def _film(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    films = [s for s in container.streams.video if not _is_attached(s)]
    if not films:
        still = bool(container.streams.video)
        raise Unreadable("no video stream, only a still picture" if still else "no video stream")
    best = container.streams.best("video")
    if len(films) == 1:
        return films[0]
    # FFmpeg's choice, unless it is a picture that is not marked as one.
    packets = _packets(path)
    if isinstance(best, av.VideoStream) and best in films and packets[best.index] > 1:
        return best
    return max(films, key=lambda stream: packets[stream.index])


def _is_attached(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _packets(path: Path) -> Counter[int]:
    """How many packets each stream has, by its index."""
    packets: Counter[int] = Counter()
    with _open(path) as container, suppress(InvalidDataError):
        for packet in container.demux():
            packets[packet.stream.index] += bool(packet.size)
    return packets
