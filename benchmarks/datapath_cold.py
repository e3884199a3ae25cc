"""Reads of ``datapath.py`` that miss the page cache: ours, and LMDB's of a whole value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import simplejpeg
from datapath_rivals import Images

from videossl.data.shards.records import HEADER, U32
from videossl.data.shards.store import ClipStore


def _bytes_read() -> int:
    """From the disk, by this process, so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def _drop(path: Path) -> None:
    """Take a file out of the page cache; nobody may have it mapped."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


class Cold:
    """Reads clips of a store whose shard is dropped before each; notes what came from disk."""

    def __init__(self, store: ClipStore, clips: Callable[[int], list[tuple[int, range]]]) -> None:
        self.store, self.clips = store, clips
        self.shard = store.path / store.shards[0]["file"]
        self.read: list[int] = []

    def measure(self, turn: int) -> float:
        """Clips per second."""
        start, passed = len(self.read), 0.0
        for video, frames in self.clips(turn):
            _drop(self.shard)
            passed += self.time(video, frames)
        return len(self.read[start:]) / passed

    def timed(self, work: Callable[[], object]) -> float:
        """Seconds that it takes."""
        before, begin = _bytes_read(), time.perf_counter()
        work()
        passed = time.perf_counter() - begin
        self.read.append(_bytes_read() - before)
        return passed

    def time(self, video: int, frames: range) -> float:
        """Ours, which has read nothing of the file before."""
        self.store.close()
        return self.timed(lambda: self.store.clip(video, frames))


class ColdValue(Cold):
    """LMDB's ``get`` on the same file, which is one value per video."""

    def __init__(
        self,
        store: ClipStore,
        clips: Callable[[int], list[tuple[int, range]]],
        readahead: bool,
    ) -> None:
        super().__init__(store, clips)
        self.readahead = readahead

    def time(self, video: int, frames: range) -> float:
        """That of the whole value."""
        options = {"subdir": False, "readonly": True, "lock": False, "readahead": self.readahead}
        with lmdb.open(str(self.shard), **options) as env, env.begin(buffers=True) as transaction:
            return self.timed(lambda: self._clip(transaction.get(b"%08d" % video), frames))

    def _clip(self, value: memoryview, frames: range) -> Images:
        count = HEADER.unpack_from(value)[3]
        offsets = np.frombuffer(value, U32, count + 1, HEADER.size)
        images = [
            simplejpeg.decode_jpeg(value[offsets[frame] : offsets[frame + 1]]) for frame in frames
        ]
        return np.stack(images)
