"""The record of one video while its frames come: in memory, or in a file once it is large.

An hour of video takes GiB, and a process that collects its frames holds them twice when it joins
them, and again when it hands them on. So what is large stands in a file of the stage's scratch
folder, and a child that decodes an hour is as large as one that decodes a minute. The process that
writes shards maps the file; LMDB holds a record once, until it is on the disk. Small records never
touch that folder, which may be far away.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from videossl.data.shards import disk_space, records

FOLDER = "records"  # of large ones, in a stage's scratch folder
IN_MEMORY = 16 << 20  # bytes of frames; half a minute of Kinetics at 256 pixels

Record = bytes | Path  # of what is large the file, which whoever stores it removes


class Recording(AbstractContextManager["Recording"]):
    """Frames as stored, in the order in which they are added; one video, for one ``with``.

    Raises:
        UserError: the disk is full, or ``folder`` cannot be written; from every method.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: list[bytes] = []  # empty once there is a file
        self._ends = [0]
        self._file: IO[bytes] | None = None

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, frame: bytes) -> int:
        """Take a frame; returns its number, which ``record`` is given."""
        self._ends.append(self._ends[-1] + len(frame))
        if self._file is not None:
            with self._explained():
                self._file.write(frame)
        else:
            self._kept.append(frame)
            if self._ends[-1] > IN_MEMORY:
                with self._explained():
                    self.folder.mkdir(parents=True, exist_ok=True)
                    # it has no name, so it goes with the process
                    self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
                    self._file.writelines(self._kept)
                self._kept = []
        return len(self._ends) - 2

    def record(
        self, frames: Sequence[int], codec: str, height: int, width: int, channels: int = 3
    ) -> Record:
        """The record of those frames, in that order; some may be left out or come repeatedly.

        Raises:
            TooLarge: it would be larger than a record can be.
        """
        if self._file is None:
            return records.pack([self._kept[n] for n in frames], codec, height, width, channels)
        lengths = [self._ends[n + 1] - self._ends[n] for n in frames]
        checksums = [0] * len(frames)
        head = partial(
            records.head, lengths, checksums, codec=codec, height=height, width=width,
            channels=channels,
        )  # fmt: skip
        first = head()
        with (
            self._explained(),
            tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as out,
        ):
            try:
                out.write(first)
                for place, (number, length) in enumerate(zip(frames, lengths, strict=True)):
                    self._file.seek(self._ends[number])
                    frame = self._file.read(length)
                    checksums[place] = zlib.crc32(frame)
                    out.write(frame)
                out.seek(0)
                out.write(head())
            except BaseException:
                Path(out.name).unlink()
                raise
        return Path(out.name)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with disk_space.explained(self.folder, "finished shards stay, run the stage again"):
            yield


def clear(folder: Path) -> None:
    """Remove records that nobody will store."""
    shutil.rmtree(folder, ignore_errors=True)


def size_of(record: Record) -> int:
    """Bytes of a record."""
    return record.stat().st_size if isinstance(record, Path) else len(record)


@contextmanager
def opened(record: Record) -> Iterator[bytes | mmap.mmap]:
    """The bytes of a record, which a file is mapped for."""
    if isinstance(record, bytes):
        yield record
        return
    with record.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped
