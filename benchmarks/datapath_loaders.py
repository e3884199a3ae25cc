"""Batches of ``datapath.py``: ours, and torch's ``DataLoader`` over our shards and over Lance."""

from __future__ import annotations

import multiprocessing as mp
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from datapath_rivals import Images, Lance
from datapath_tables import FRAMES
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from videossl.data.loading.loader import TrainBatches, batches
from videossl.data.loading.sampling import ClipRequest, random_start, window

WARM = 4  # batches before measuring
Clips = tuple[list[Images], NDArray[np.float32]]  # of a row or of a batch: clips, and their draws


class Rows(Dataset[Clips]):
    """The rows of a source's batches, one after another, for the default collate."""

    def __init__(self, source: TrainBatches) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.steps()) * self.source.batch_size

    def __getitem__(self, index: int) -> Clips:
        step, row = divmod(index, self.source.batch_size)
        sample = self.source.sample_of(step, row)
        video = int(self.source.videos_of(step)[row])
        clips = [self.source.store.clip(video, request.frames) for request, _ in sample]
        return clips, np.stack([drawn for _, drawn in sample])


class Whole(Dataset[Clips]):
    """An item is a batch, as for ``DataLoader(batch_size=None)``: each view is one array."""

    def __init__(self, source: TrainBatches) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.steps())

    def __getitem__(self, step: int) -> Clips:
        clips, draws = zip(*(self.row(step, row) for row in self.rows()), strict=True)
        return [np.stack(view) for view in zip(*clips, strict=True)], np.stack(draws)

    def rows(self) -> range:
        """Those of a batch."""
        return range(self.source.batch_size)

    def row(self, step: int, row: int) -> Clips:
        """Clips and draws of one video of a batch."""
        sample = self.source.sample_of(step, row)
        video = int(self.source.videos_of(step)[row])
        clips = [self.source.store.clip(video, request.frames) for request, _ in sample]
        return clips, np.stack([drawn for _, drawn in sample])


class LanceBatches(Whole):
    """The same from a Lance table: all rows of a batch in one ``take``, each decoded once."""

    def __init__(self, source: TrainBatches, table: Lance) -> None:
        super().__init__(source)
        self.table = table

    def __getitem__(self, step: int) -> Clips:
        samples = [self.source.sample_of(step, row) for row in self.rows()]
        firsts = [self.table.first[int(video)] for video in self.source.videos_of(step)]
        views = [
            [[first + frame for frame in sample[view][0].frames] for view in range(len(sample))]
            for first, sample in zip(firsts, samples, strict=True)
        ]
        wanted = sorted({row for video in views for view in video for row in view})
        values = dict(zip(wanted, self.table.stored(wanted), strict=True))
        images = {row: self.table.decode(value) for row, value in values.items()}
        clips = [
            np.stack([np.stack([images[row] for row in video[view]]) for video in views])
            for view in range(len(views[0]))
        ]
        return clips, np.stack([np.stack([drawn for _, drawn in sample]) for sample in samples])


def two_clips(rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
    """Two clips of neighbouring frames, wherever they are."""
    starts = [random_start(rng, num_frames, FRAMES) for _ in range(2)]
    return [ClipRequest(window(num_frames, s, FRAMES, 1), view) for view, s in enumerate(starts)]


def clips_per_second(stream: Iterable[Any], size: int) -> float:
    """Of a source's batches, once the memory of all is in use."""
    batches = iter(stream)
    for _ in range(WARM):
        next(batches)
    begin = time.perf_counter()
    count = sum(1 for _ in batches)
    return 2 * size * count / (time.perf_counter() - begin)


def side_by_side(source: TrainBatches) -> float:
    """Two processes that each read in-process at the same time, together."""
    context = mp.get_context("fork")
    barrier, results = context.Barrier(2), context.SimpleQueue()

    def work() -> None:
        barrier.wait()
        results.put(clips_per_second(batches(source), source.batch_size))

    processes = [context.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    total = sum(results.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def of_torch(make: Callable[[TrainBatches], Any], source: TrainBatches, n: int, how: str) -> float:
    """Of a ``DataLoader`` with ``n`` workers that are started ``how``."""
    dataset = make(source)
    size = source.batch_size if isinstance(dataset, Rows) else None
    stream = DataLoader(dataset, size, num_workers=n, multiprocessing_context=how)
    return clips_per_second(stream, source.batch_size)
