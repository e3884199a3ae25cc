"""Decord, read in order and held to reading a file whole.

Decord conceals damage: it drops FFmpeg's marks of corrupt frames. What its FFmpeg says about damage
goes to the standard error, so that is listened to.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NO_SUBSTITUTES = 1e-9  # decord's fault_tol: fail at the first frame it would fill in
STDERR = 2
Image = NDArray[np.uint8]  # (H, W, 3), RGB


class Failed(Exception):
    """Decord did not read the file whole. In our words: its own hold times and addresses."""


@contextmanager
def _listening() -> Iterator[Callable[[], bool]]:
    """Whether anything was written to the standard error, by C code too; it is not shown."""
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(STDERR)
        os.dup2(heard.fileno(), STDERR)
        try:
            yield lambda: os.fstat(heard.fileno()).st_size > 0
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)


def frames(path: Path, stop: int | None = None) -> Iterator[Image]:
    """All frames in order, each exactly once; the first ``stop`` of them where that is given.

    Decord's own time stamps are float32, too coarse for a clock that begins late.

    Raises:
        Failed: at any frame, or after the last one.
    """
    import decord  # here, so that the other backend does not load a second FFmpeg

    # No common base class; the constructor and the end of the stream have errors of their own.
    errors = (
        decord.DECORDError,
        decord.DECORDLimitReachedError,
        RuntimeError,
        AssertionError,
        StopIteration,
        UnicodeEncodeError,  # a file name that is not UTF-8
    )
    decord.logging.set_level(decord.logging.ERROR)
    with _listening() as damage:
        try:
            reader = decord.VideoReader(str(path), num_threads=1, fault_tol=NO_SUBSTITUTES)
        except errors:
            raise Failed("decord cannot open it") from None
        for _ in range(len(reader))[:stop]:
            try:
                frame = reader.next()
            except errors:  # when and which depends on how far ahead its thread is: not in the text
                raise Failed("decord cannot decode all frames") from None
            yield frame.asnumpy()
        if damage():
            raise Failed("decord reports damage")
