"""Batches of clips. Batch ``step`` is a pure function of (seed, step), whatever reads it.

Draws are counter-based: video ``v`` in epoch ``e`` takes its clips and augmentations from a
generator seeded with (seed, e, v), so batches do not depend on workers, and a run resumes at any
step by asking for that step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from videossl.data.augment import FIELDS, Draw, centre, draw
from videossl.data.clips import ClipRequest, span, uniform_starts, window
from videossl.data.store import ClipStore
from videossl.schema import Augment, Clip

Requests = Callable[[np.random.Generator, int], list[ClipRequest]]
ORDER = 0x0DE2  # sets the generator of an epoch's order apart from those of its videos


@dataclass(frozen=True)
class Batch:
    """Raw clips and what to do with them on the device."""

    clips: list[Tensor]  # one per requested clip: (B, T, H, W, 3) uint8
    draws: list[Tensor]  # one per requested clip: (B, FIELDS) float32
    video: Tensor  # (B,) int64, index in the store
    label: Tensor  # (B,) int64

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device``, copied asynchronously from pinned memory."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        return Batch(
            [move(x) for x in self.clips],
            [move(x) for x in self.draws],
            move(self.video),
            move(self.label),
        )

    def pin_memory(self) -> Batch:
        """Called by DataLoader when the device is a GPU."""
        return Batch(
            [x.pin_memory() for x in self.clips],
            [x.pin_memory() for x in self.draws],
            self.video.pin_memory(),
            self.label.pin_memory(),
        )


class TrainBatches(Dataset[Batch]):
    """All batches of a training run, by global step; the last incomplete batch is left out."""

    def __init__(
        self,
        store: ClipStore,
        videos: Sequence[int],
        requests: Requests,
        augment: Augment,
        batch_size: int,
        seed: int,
    ) -> None:
        self.store, self.requests, self.augment, self.seed = store, requests, augment, seed
        self.videos = np.asarray(videos, dtype=np.int64)
        self.batch_size = min(batch_size, len(self.videos))
        self.steps_per_epoch = len(self.videos) // self.batch_size

    def members(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """Epoch of a step, and the videos in its batch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch, ORDER]).permutation(self.videos)
        return epoch, order[position * self.batch_size :][: self.batch_size]

    def sample(self, epoch: int, video: int) -> list[tuple[ClipRequest, Draw]]:
        """The clips of one video in one epoch, each with its augmentation."""
        rng = np.random.default_rng([self.seed, epoch, 1 + video])
        info = self.store.videos[video]
        requests = self.requests(rng, info.frames)
        views = {
            view: draw(rng, self.augment, info.height, info.width)
            for view in sorted({request.view for request in requests})
        }
        return [(request, views[request.view]) for request in requests]

    def __getitem__(self, step: int) -> Batch:
        epoch, videos = self.members(step)
        samples = [self.sample(epoch, int(video)) for video in videos]
        return _assemble(self.store, videos, samples)

    def from_step(self, start: int, stop: int, workers: int, pin: bool) -> Iterator[Batch]:
        """Batches ``start`` to ``stop - 1``, prefetched by ``workers`` processes."""
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=4 if workers else None,
        )
        return iter(loader)


def central_batches(
    store: ClipStore, videos: Sequence[int], clip: Clip, clips: int, batch_size: int
) -> Iterator[Batch]:
    """``clips`` evenly spread, centrally cropped clips of every video, in order, as batches of one.

    A batch holds at most ``batch_size`` clips; ``Batch.video`` says whose they are.
    """
    jobs = [
        (video, ClipRequest(window(frames, start, clip.frames, clip.stride), 0))
        for video in videos
        for frames in (store.videos[video].frames,)
        for start in uniform_starts(frames, span(clip.frames, clip.stride), clips)
    ]
    for first in range(0, len(jobs), batch_size):
        part = jobs[first : first + batch_size]
        samples = [
            [(request, centre(store.videos[video].height, store.videos[video].width))]
            for video, request in part
        ]
        yield _assemble(store, np.array([video for video, _ in part]), samples)


def _assemble(
    store: ClipStore, videos: NDArray[np.int64], samples: list[list[tuple[ClipRequest, Draw]]]
) -> Batch:
    """Read the clips; frames smaller than the batch's largest are padded right and below."""
    infos = [store.videos[int(video)] for video in videos]
    height, width = max(i.height for i in infos), max(i.width for i in infos)
    clips, draws = [], []
    for k, (first, _) in enumerate(samples[0]):
        canvas = np.zeros((len(videos), len(first.frames), height, width, 3), np.uint8)
        table = np.empty((len(videos), FIELDS), np.float32)
        for row, (video, info, sample) in enumerate(zip(videos, infos, samples, strict=True)):
            request, table[row] = sample[k]
            if (info.height, info.width) == (height, width):
                store.clip(int(video), request.frames, out=canvas[row])
            else:
                canvas[row, :, : info.height, : info.width] = store.clip(int(video), request.frames)
        clips.append(torch.from_numpy(canvas))
        draws.append(torch.from_numpy(table))
    labels = torch.tensor([info.label for info in infos])
    return Batch(clips, draws, torch.from_numpy(np.asarray(videos, np.int64)), labels)
