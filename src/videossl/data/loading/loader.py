"""Batches of clips. Batch ``step`` is a pure function of (seed, step), whatever reads it.

Draws are counter-based: example ``x`` in epoch ``e`` takes its clips and augmentations from a
generator seeded with (seed, e, x), so batches do not depend on workers, and a run resumes at any
step by asking for that step. An example is a video, or a moment of one: several of one video draw
apart.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videossl.data.loading import ring
from videossl.data.loading.augment import Draw, centre, draw
from videossl.data.loading.ring import Sample
from videossl.data.loading.sampling import ClipRequest, Kind, span, uniform_starts, window
from videossl.data.shards.store import ClipStore, Video
from videossl.study.schema import Augment, Clip, Motion

Requests = Callable[[np.random.Generator, int], list[ClipRequest]]
ORDER = 0x0DE2  # sets the generator of an epoch's order apart from those of its videos


@dataclass(frozen=True)
class Batch:
    """Raw clips and what to do with them on the device; the clips last until the next batch."""

    clips: list[Tensor]  # one per requested clip: (B, T, P, H, W, C) uint8, P planes of a frame
    draws: list[Tensor]  # one per requested clip: (B, FIELDS) float32
    video: Tensor  # (B,) int64, index in the store
    example: Tensor  # (B,) int64, number of the example; that of the video, where it is one
    host: list[Tensor]  # the draws once more, always on the CPU
    labels: Tensor  # (B, N) float32, what the requests of a row carry
    kinds: list[Kind]  # one per requested clip
    motion: Motion | None = None  # how clips of that kind were computed

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device``; clips are copied asynchronously where memory is pinned."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        return Batch(
            [move(x) for x in self.clips],
            [move(x) for x in self.draws],
            move(self.video),
            move(self.example),
            self.host,
            move(self.labels),
            self.kinds,
            self.motion,
        )

    def split(self, parts: int) -> list[Batch]:
        """The rows in ``parts`` equal batches, in order."""
        if parts == 1:
            return [self]
        columns = [[x.chunk(parts) for x in xs] for xs in (self.clips, self.draws, self.host)]
        videos, examples = self.video.chunk(parts), self.example.chunk(parts)
        labels = self.labels.chunk(parts)
        return [
            Batch(
                [clip[part] for clip in columns[0]],
                [draws[part] for draws in columns[1]],
                videos[part],
                examples[part],
                [draws[part] for draws in columns[2]],
                labels[part],
                self.kinds,
                self.motion,
            )
            for part in range(parts)
        ]


def batches(source: ring.Source, workers: int = 0, pin: bool = False) -> Generator[Batch]:
    """The batches of ``source`` in order, read ahead by ``workers`` processes.

    Raises:
        CorruptShard: stored bytes are damaged.
        RuntimeError: a worker process died.
    """
    options = getattr(source.store_of("motion"), "options", None)
    kinds: list[Kind] = []
    for filled in ring.stream(source, workers, pin):
        kinds = kinds or [r.kind for r, _ in source.sample_of(source.steps()[0], 0)]
        draws = [torch.from_numpy(rows) for rows in filled.draws]
        yield Batch(
            [torch.from_numpy(clip) for clip in filled.clips],
            draws,
            torch.from_numpy(filled.videos),
            torch.from_numpy(filled.examples),
            draws,
            torch.from_numpy(filled.labels),
            kinds,
            options,
        )


class TrainBatches:
    """All batches of a training run, by global step; the last incomplete batch is left out."""

    def __init__(
        self,
        store: ClipStore,
        videos: Sequence[int],
        requests: Requests,
        augment: Augment,
        batch_size: int,
        seed: int,
        motion: ClipStore | None = None,
        examples: Sequence[int] | None = None,
    ) -> None:
        """Batches of ``videos``, which are the examples of those numbers; by default their own."""
        self.store, self.requests, self.augment, self.seed = store, requests, augment, seed
        self.motion = motion
        self.videos = np.asarray(videos, dtype=np.int64)
        self.examples = self.videos if examples is None else np.asarray(examples, dtype=np.int64)
        self.batch_size = min(batch_size, len(self.videos))
        self.steps_per_epoch = len(self.videos) // self.batch_size
        self.reading = range(0)
        self.rows: Sequence[int] = range(self.batch_size)
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.arange(len(self.videos)))

    def between(self, start: int, stop: int, rows: Sequence[int] | None = None) -> TrainBatches:
        """The same batches, to be read from ``start`` to ``stop - 1``; some of their rows only."""
        part = copy(self)
        part.reading = range(start, stop)
        part.rows = self.rows if rows is None else rows
        return part

    def store_of(self, kind: Kind) -> ClipStore:
        """The store of the motion, where there is one, or of the frames."""
        return self.motion if kind == "motion" and self.motion is not None else self.store

    def steps(self) -> range:
        """The global steps to be read."""
        return self.reading

    def videos_of(self, step: int) -> NDArray[np.int64]:
        """The videos in a step's batch, (B,)."""
        return self.videos[self._places(step)]

    def examples_of(self, step: int) -> NDArray[np.int64]:
        """The examples in a step's batch, (B,)."""
        return self.examples[self._places(step)]

    def _places(self, step: int) -> NDArray[np.int64]:
        """Which of the examples are in a step's batch, (B,): by their place, not their number."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch, ORDER])
            self._order = (epoch, rng.permutation(len(self.videos)))
        batch = self._order[1][position * self.batch_size :][: self.batch_size]
        return batch[self.rows]

    def sample_of(self, step: int, row: int) -> Sample:
        """The clips of one row of a step's batch."""
        place = self._places(step)[row]
        return self.sample(
            step // self.steps_per_epoch, int(self.videos[place]), int(self.examples[place])
        )

    def sample(self, epoch: int, video: int, example: int) -> Sample:
        """The clips of one example in one epoch, each with its augmentation."""
        rng = np.random.default_rng([self.seed, epoch, 1 + example])
        info = self.store.videos[video]
        requests = self.requests(rng, info.frames)
        draws = {
            draw_id: draw(rng, self.augment, info.height, info.width)
            for draw_id in sorted({request.draw_id for request in requests})
        }
        return [(request, draws[request.draw_id]) for request in requests]


class CentralBatches:
    """``clips`` evenly spread, centrally cropped clips of every video, in order.

    A batch holds one clip per row and at most ``batch_size`` rows; ``Batch.video`` says whose.
    """

    def __init__(
        self, store: ClipStore, videos: Sequence[int], clip: Clip, clips: int, batch_size: int
    ) -> None:
        self.store, self.clip, self.clips, self.batch_size = store, clip, clips, batch_size
        self.rows = np.repeat(np.asarray(videos, np.int64), clips)

    def store_of(self, kind: Kind) -> ClipStore:
        """The one store."""
        return self.store

    def steps(self) -> range:
        """All batches."""
        return range(-(-len(self.rows) // self.batch_size))

    def videos_of(self, step: int) -> NDArray[np.int64]:
        """The videos in a batch, (B,)."""
        return self.rows[step * self.batch_size :][: self.batch_size]

    def examples_of(self, step: int) -> NDArray[np.int64]:
        """The videos once more: whoever tests knows which example a row is of."""
        return self.videos_of(step)

    def sample_of(self, step: int, row: int) -> Sample:
        """The one clip of a row."""
        position = step * self.batch_size + row
        info = self.store.videos[int(self.rows[position])]
        return [self._clip(info, position)]

    def _clip(self, info: Video, position: int) -> tuple[ClipRequest, Draw]:
        starts = uniform_starts(info.frames, span(self.clip.frames, self.clip.stride), self.clips)
        start = starts[position % self.clips]
        frames = window(info.frames, start, self.clip.frames, self.clip.stride)
        return ClipRequest(frames, 0), centre(info.height, info.width)
