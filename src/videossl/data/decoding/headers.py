"""What a video's header says of its length, read without decoding a frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

from videossl.data.decoding.container import open_film
from videossl.data.decoding.locate import Unreadable


@dataclass(frozen=True)
class Header:
    """The film's length by its header; 0 where it does not say. Often off by a frame."""

    frames: int
    seconds: float


def read_header(path: Path) -> Header:
    """The header of a video file.

    Raises:
        Unreadable: FFmpeg cannot open it, or it holds no film.
    """
    try:
        container, stream = open_film(path.absolute())
        with container:
            seconds = (container.duration or 0) / av.time_base
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            return Header(stream.frames or round(seconds * rate), seconds)
    except FFmpegError as error:
        raise Unreadable(f"{type(error).__name__}: {error.strerror}") from None
