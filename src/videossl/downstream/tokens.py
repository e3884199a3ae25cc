"""Tokens of a test's examples on disk: the places of a frozen network's last map, clip by clip.

``tokens.npy`` is (N, clips, L, D) float16, L places of time, height and width in this order. It is
read through a memory map, so that a protocol may train on more than memory holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from videossl.job import UserError

FILE = "tokens.npy"
DTYPE = np.dtype("<f2")


class Writer:
    """Writes the tokens of examples as they come."""

    def __init__(self, file: BinaryIO, folder: Path, count: int, key: str) -> None:
        self.file, self.folder, self.count, self.key = file, folder, count, key
        self.done = 0

    def write(self, block: NDArray[np.float32]) -> None:
        """The next (n, clips, L, D).

        Raises:
            UserError: a token is beyond float16, or all of them are more than the disk has free.
        """
        if not self.done:
            shape = (self.count, *block.shape[1:])
            self._check_room(shape)
            head = {"descr": DTYPE.str, "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(self.file, head)
        with np.errstate(over="ignore"):  # is said below
            half = block.astype(DTYPE)
        if not np.isfinite(half).all():
            raise UserError(
                f"{self.key}.tokens: a value is not finite, or beyond the {np.finfo(DTYPE).max:g} "
                "of half precision, in which tokens are stored"
            )
        self.file.write(half.tobytes())
        self.done += len(block)

    def _check_room(self, shape: tuple[int, ...]) -> None:
        """Say what the tokens will take, before hours are spent."""
        needed = DTYPE.itemsize * np.prod(shape, dtype=np.float64)
        free = shutil.disk_usage(self.folder).free
        print(f"tokens: {needed / 1e9:.3g} GB of {free / 1e9:.3g} GB free", flush=True)
        if needed > free:
            raise UserError(
                f"{self.folder}: the tokens of {self.count} examples need {needed / 1e9:.3g} GB "
                f"and {free / 1e9:.3g} GB are free; fewer {self.key}.clips make them smaller"
            )


@contextmanager
def writing(folder: Path, count: int, key: str) -> Iterator[Writer]:
    """A writer of the tokens of ``count`` examples; ``key`` holds the parameters, for messages."""
    with (folder / FILE).open("wb") as file:
        writer = Writer(file, folder, count, key)
        yield writer
    if writer.done != count:
        raise ValueError(f"{writer.done} tokens of {count} examples")


def read(folder: Path, count: int) -> NDArray[np.float16]:
    """The tokens of ``count`` examples, (N, clips, L, D), as a memory map.

    Raises:
        UserError: there are none, or the file is damaged.
    """
    path = folder / FILE
    again = f"remove {folder} and run again"
    try:
        found: NDArray[np.float16] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}; {again}") from None
    if found.ndim != 4 or found.dtype != DTYPE or len(found) != count:
        raise UserError(
            f"{path}: {found.dtype}, shape {found.shape}: no tokens of {count} examples; {again}"
        )
    return found
