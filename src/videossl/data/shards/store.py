"""Read clips out of the shards that ``decode`` made.

A clip is a few ``pread`` calls at recorded places: no memory map, so a damaged disk is an error
and not a SIGBUS, nothing is shared with the parent but read-only descriptors, and of a long video
only the frames of the clip are read. LMDB's own ``get`` would read the whole value.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from videossl.data.shards.records import (
    MANIFEST,
    VERSION,
    Table,
    record_header,
    table_bytes,
    unpack_table,
)
from videossl.job import UserError

SPAN = 3  # a span is read in one piece if it is less than this much larger than its frames
CACHE_BYTES = 64 << 20  # of tables; those of all of UCF101 take 20 MB


class CorruptShard(UserError):
    """Stored bytes do not match their checksum, or the disk does not give them."""


class Place(NamedTuple):
    """Where a record is: shard number, its bytes in that file, the checksum of its table."""

    shard: int
    offset: int
    length: int
    table_crc32: int


class Video(NamedTuple):
    """A stored video; sizes in pixels, as stored.

    ``fps`` is the rate of the stored frames, ``source_fps`` that of the file; 0.0: not known.
    ``begin`` is when the first stored frame appears, in seconds from the file's first.
    """

    name: str
    label: int
    splits: dict[str, str]
    frames: int
    height: int
    width: int
    fps: float
    source_fps: float = 0.0
    begin: float = 0.0


# what the manifest says of a video; motion's says nothing of a file
FACTS = itemgetter(*(key for key in Video._fields if key not in Video._field_defaults))
PLACE = itemgetter(*Place._fields)


class ClipStore:
    """The videos in a folder of shards. Picklable; works in forked and spawned workers.

    Attributes:
        channels: of a stored frame.
        planes: images above each other in a stored frame (see ``MotionStore``).

    Raises:
        UserError: the folder is not a complete output of ``decode``.
    """

    planes: int = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._take(_read_manifest(path / MANIFEST))
        except (KeyError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"{path / MANIFEST}: not what `decode` writes ({what})") from None
        for shard in self.shards:
            _check_size(path / shard["file"], shard["size"])
        self._numbers: dict[str, int] | None = None
        self._forget()

    def _take(self, manifest: dict[str, Any]) -> None:
        self.classes: list[str] = manifest["classes"]
        found = manifest["videos"]
        self.videos = [
            Video._make((*FACTS(video), video.get("source_fps", 0.0), video.get("begin", 0.0)))
            for video in found
        ]
        self._places = [Place._make(PLACE(video)) for video in found]
        self._codec: str = manifest["codec"]
        self.channels: int = manifest["channels"]
        self.rejects: list[dict[str, str]] = manifest["rejects"]
        self.shards: list[dict[str, Any]] = manifest["shards"]
        self._files = [shard["file"] for shard in self.shards]

    def _forget(self) -> None:
        self._descriptors: dict[int, int] = {}
        self._tables: dict[int, Table] = {}
        self._cached_bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        kept = dict(self.__dict__)
        for name in ("_descriptors", "_tables", "_cached_bytes"):
            del kept[name]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return len(self.videos)

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._forget()

    def __del__(self) -> None:
        if "_descriptors" in self.__dict__:  # absent where __init__ raised
            self.close()

    def number(self, name: str) -> int:
        """The index of the video of that name.

        Raises:
            KeyError: there is none.
        """
        if self._numbers is None:
            self._numbers = {video.name: index for index, video in enumerate(self.videos)}
        return self._numbers[name]

    def members(self, split: int, part: str) -> list[int]:
        """Indices into ``videos`` of one part ("train" or "test") of an official split.

        Raises:
            UserError: there is none.
        """
        found = [
            index for index, video in enumerate(self.videos) if video.splits.get(str(split)) == part
        ]
        if not found:
            pairs = {pair for video in self.videos for pair in video.splits.items()}
            there = ", ".join(f"{s} {p}" for s, p in sorted(pairs)) or "none"
            raise UserError(f"{self.path}: no video in split {split} {part}; found: {there}")
        return found

    def clip(
        self,
        video: int,
        frames: Sequence[int] | NDArray[np.integer],
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Frames of one video, (T, H, W, channels), RGB where there are 3; into ``out`` if given.

        Raises:
            IndexError: there is no such frame.
            ValueError: ``out`` has another shape or type, or is not contiguous.
            CorruptShard: the stored bytes are damaged.
        """
        facts = self.videos[video]
        indices = [int(frame) for frame in frames]
        for index in indices:
            if not 0 <= index < facts.frames:
                raise IndexError(f"{facts.name}: no frame {index}, it has {facts.frames}")
        shape = (len(indices), facts.height, facts.width, self.channels)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"{facts.name}: out must be a contiguous uint8 array of shape {shape}")
        table = self._table(video)
        space = "RGB" if self.channels == 3 else "GRAY"
        for target, stored in zip(out, self._stored(video, table, indices), strict=True):
            if self._codec == "raw":
                target[...] = np.frombuffer(stored, np.uint8).reshape(shape[1:])
            else:
                simplejpeg.decode_jpeg(stored, space, buffer=target)
        return out

    def _table(self, video: int) -> Table:
        table = self._tables.get(video)
        if table is None:
            facts, place = self.videos[video], self._places[video]
            size = table_bytes(facts.frames)
            data = self._read(video, size, 0)
            header = record_header(
                self._codec, facts.frames, facts.height, facts.width, self.channels
            )
            if zlib.crc32(data) != place.table_crc32:
                raise self._corrupt(video, "table of frames: not what was written")
            try:
                table = unpack_table(data, header, place.length)
            except ValueError as error:
                raise self._corrupt(video, f"table of frames: {error}") from None
            if self._cached_bytes + size > CACHE_BYTES:
                self._tables.clear()
                self._cached_bytes = 0
            self._tables[video] = table
            self._cached_bytes += size
        return table

    def _stored(
        self, video: int, table: Table, indices: Sequence[int]
    ) -> Iterable[bytes | memoryview]:
        """The stored bytes of each frame, checked."""
        if not indices:
            return
        place = self._places[video]
        starts = table.offsets[indices].tolist()
        ends = table.offsets[[index + 1 for index in indices]].tolist()
        low, high = min(starts), max(ends)
        whole: memoryview | None = None
        if high - low < SPAN * (sum(ends) - sum(starts)):
            whole = memoryview(self._read(video, high - low, low))
        else:  # asked for at once, so that a disk serves them side by side
            descriptor = self._descriptor(place.shard)
            for start, end in zip(starts, ends, strict=True):
                os.posix_fadvise(
                    descriptor, place.offset + start, end - start, os.POSIX_FADV_WILLNEED
                )
        for index, start, end in zip(indices, starts, ends, strict=True):
            if whole is not None:
                data: bytes | memoryview = whole[start - low : end - low]
            else:
                data = self._read(video, end - start, start)
            if zlib.crc32(data) != table.checksums[index]:
                raise self._corrupt(video, f"frame {index}: checksum mismatch")
            yield data

    def _read(self, video: int, size: int, start: int) -> bytes:
        """``size`` bytes of a video's record, from ``start``; fewer where the file ends."""
        place = self._places[video]
        try:
            return os.pread(self._descriptor(place.shard), size, place.offset + start)
        except OSError as error:
            raise self._corrupt(video, f"not readable: {error.strerror}") from None

    def _corrupt(self, video: int, what: str) -> CorruptShard:
        file = self.path / self._files[self._places[video].shard]
        again = f"remove {self.path} and run the workflow again"
        return CorruptShard(f"{file}: damaged at {self.videos[video].name}, {what}; {again}")

    def _descriptor(self, shard: int) -> int:
        # A forked worker may go on with its parent's: pread moves no shared position.
        descriptor = self._descriptors.get(shard)
        if descriptor is None:
            descriptor = os.open(self.path / self._files[shard], os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            self._descriptors[shard] = descriptor
        return descriptor


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; `decode` did not finish there") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if manifest.get("version") != VERSION:
        raise UserError(
            f"{path}: found version {manifest.get('version')!r}; this code reads {VERSION}"
        )
    return manifest


def _check_size(path: Path, expected: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        what = "no file" if found is None else f"{found} bytes"
        raise UserError(f"{path}: found {what}, expected {expected} bytes")
