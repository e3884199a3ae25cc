"""LMDB clip shards: one record per video, byte for byte the same however they were made.

A record (little endian, no padding)::

    4s magic | u16 version | u16 codec | u32 n | u16 height | u16 width
    u32 offset[n + 1]      of each frame, from the record's start; the last is the record's length
    u32 crc32[n]           of each frame as stored
    n frames               JPEG files, or raw bytes of height x width x channels (RGB, or one)

The key of the i-th record of a shard is ``b"%08d" % i``, so a shard's bytes do not depend on the
shards before it. The manifest also holds each record's place in its file, so that a reader need not
touch LMDB: ``get`` reads a value as a whole.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lmdb
import numpy as np
import simplejpeg
from numpy.typing import NDArray

MANIFEST = "manifest.json"  # beside the shards, written last
MAGIC, VERSION = b"CLIP", 2
CODECS = {("raw", 3): 0, ("jpeg", 3): 1, ("raw", 1): 2, ("jpeg", 1): 3}
HEADER = struct.Struct("<4sHHIHH")
U32 = np.dtype("<u4")
RECORD_LIMIT = 2**32 - 2**16  # offsets are u32, and LMDB's values end a little below 4 GiB
SIDE_LIMIT = 2**16 - 1
READ_BYTES = 16 << 20  # at once; a record of an hour of video takes GiB
COMMIT_BYTES = 64 << 20  # bounds memory; fixed, because where transactions end shows in the bytes


class TooLarge(ValueError):
    """The frames do not fit into one record."""


def encoder(codec: str, quality: int, channels: int = 3) -> Callable[[NDArray[np.uint8]], bytes]:
    """How one frame (H, W, channels) is stored; ``quality`` is JPEG's, 1 to 100."""
    if codec == "raw":
        return _raw_bytes
    space, sampling = ("RGB", "420") if channels == 3 else ("GRAY", "Gray")
    return partial(
        simplejpeg.encode_jpeg, quality=quality, colorspace=space, colorsubsampling=sampling
    )


def _raw_bytes(image: NDArray[np.uint8]) -> bytes:
    return image.tobytes()


def table_bytes(frames: int) -> int:
    """Size of what stands before the first frame."""
    return HEADER.size + U32.itemsize * (2 * frames + 1)


def record_header(codec: str, frames: int, height: int, width: int, channels: int = 3) -> bytes:
    """The first bytes of a record of such frames."""
    return HEADER.pack(MAGIC, VERSION, CODECS[codec, channels], frames, height, width)


def head(
    lengths: Sequence[int],
    checksums: Sequence[int],
    codec: str,
    height: int,
    width: int,
    channels: int = 3,
) -> bytes:
    """What stands before the frames of a record, which have those lengths and CRC-32.

    Raises:
        TooLarge: the record would be larger than one can be.
    """
    count = len(lengths)
    ends = np.cumsum(lengths, dtype=np.int64) + table_bytes(count)
    if ends[-1] > RECORD_LIMIT or max(height, width) > SIDE_LIMIT:
        raise TooLarge(
            f"{count} frames of {height}x{width} take {ends[-1]} bytes; a record holds "
            f"{RECORD_LIMIT} bytes and sides up to {SIDE_LIMIT}"
        )
    header = record_header(codec, count, height, width, channels)
    offsets = np.concatenate(([table_bytes(count)], ends)).astype(U32)
    return b"".join((header, offsets.tobytes(), np.array(checksums, U32).tobytes()))


def pack(frames: Sequence[bytes], codec: str, height: int, width: int, channels: int = 3) -> bytes:
    """The record of one video.

    Raises:
        TooLarge: it would be larger than a record can be.
    """
    checksums = [zlib.crc32(frame) for frame in frames]
    first = head([len(frame) for frame in frames], checksums, codec, height, width, channels)
    return b"".join((first, *frames))


@dataclass(frozen=True)
class Table:
    """Where the n frames of a record are."""

    offsets: NDArray[np.uint32]  # (n + 1,), from the record's start
    checksums: NDArray[np.uint32]  # (n,)


def unpack_table(data: bytes, header: bytes, length: int) -> Table:
    """The table of a record with that ``header`` and total ``length``, from its first bytes.

    Raises:
        ValueError: it is not the table of such a record.
    """
    count = HEADER.unpack(header)[3]
    if len(data) != table_bytes(count) or not data.startswith(header):
        raise ValueError("not the header of this video")
    offsets = np.frombuffer(data, U32, count + 1, HEADER.size)
    checksums = np.frombuffer(data, U32, count, HEADER.size + offsets.nbytes)
    ordered = np.all(offsets[:-1] <= offsets[1:])
    if not ordered or offsets[0] != len(data) or offsets[-1] != length:
        raise ValueError("offsets do not fit the record")
    return Table(offsets, checksums)


def table_checksum(record: bytes | mmap.mmap) -> int:
    """CRC-32 of what stands before the first frame: with the frames' own it covers all of it."""
    return zlib.crc32(record[: table_bytes(HEADER.unpack_from(record)[3])])


class ShardWriter:
    """Writes records, in the order given, into one shard file; one process, one writer.

    The shard is full once its records hold ``shard_bytes``.

    Raises:
        OSError: the disk is full or fails; from every method.
    """

    def __init__(self, path: Path, shard_bytes: int) -> None:
        self.path, self.shard_bytes = path, shard_bytes
        self.records = self.bytes = self.uncommitted = 0
        # map_size is stored in the file, hence the same for every shard; it limits, and costs no
        # space. meminit: else heap garbage gets into the file. One sync at the end is enough,
        # because an unfinished shard is never used.
        with _disk_errors(path):
            self.env = lmdb.open(
                str(path),
                subdir=False,
                lock=False,
                map_size=2 * (shard_bytes + RECORD_LIMIT),
                meminit=True,
                writemap=False,
                sync=False,
                metasync=False,
            )
            self.transaction = self.env.begin(write=True)

    @property
    def full(self) -> bool:
        """Whether the shard should be closed."""
        return self.bytes >= self.shard_bytes

    def put(self, record: bytes | mmap.mmap) -> None:
        """Append the next record."""
        with _disk_errors(self.path):
            self.transaction.put(b"%08d" % self.records, record, append=True)
            self.records += 1
            self.bytes += len(record)
            self.uncommitted += len(record)
            if self.uncommitted >= COMMIT_BYTES:
                self.transaction.commit()
                self.transaction = self.env.begin(write=True)
                self.uncommitted = 0

    def close(self) -> list[tuple[int, int]]:
        """Every record's (offset, length); the file is complete and on disk."""
        with _disk_errors(self.path):
            self.transaction.commit()
            self.env.sync(True)
            extents = self._locate()
            self.env.close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        return extents

    def abandon(self) -> None:
        """Give the unfinished shard up."""
        self.transaction.abort()
        self.env.close()

    def _locate(self) -> list[tuple[int, int]]:
        """(offset, length) of every record in the file.

        LMDB maps the file as one block, so addresses of values differ as their offsets do, and one
        unknown is left: the offset of the first value, which its address fixes modulo the page
        size. Candidates are tried until all records are read back from where they should be.
        """
        page = self.env.stat()["psize"]
        with self.env.begin(buffers=True) as transaction, self.path.open("rb") as file:
            stored = [value for _, value in transaction.cursor()]  # keys were put in this order
            values = [np.frombuffer(value, np.uint8) for value in stored]
            addresses = [value.ctypes.data for value in values]
            for start in range(addresses[0] % page, self.path.stat().st_size, page):
                offsets = [start + address - addresses[0] for address in addresses]
                if all(
                    offset >= 0 and _stands_at(file.fileno(), offset, value)
                    for offset, value in zip(offsets, values, strict=True)
                ):
                    return [(o, len(v)) for o, v in zip(offsets, values, strict=True)]
        raise RuntimeError(f"{self.path}: records are not where LMDB's memory map shows them")


def _stands_at(descriptor: int, offset: int, value: NDArray[np.uint8]) -> bool:
    """Whether the file holds ``value`` at ``offset``."""
    if os.pread(descriptor, HEADER.size, offset) != value[: HEADER.size].tobytes():
        return False
    return all(
        os.pread(descriptor, len(part), offset + start) == part.tobytes()
        for start in range(0, len(value), READ_BYTES)
        for part in (value[start : start + READ_BYTES],)
    )


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """LMDB has error classes of its own, and calls a full disk an I/O error."""
    try:
        yield
    except lmdb.Error as error:
        free = shutil.disk_usage(path.parent).free
        raise OSError(f"{path}: {error} ({free / 1e9:.2f} GB are free)") from None
