"""Batches of a test's examples: clips of whole videos or around a moment, cropped or whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videossl.data.loading.augment import Draw, draw, squares, whole
from videossl.data.loading.fields import CROP, Field
from videossl.data.loading.loader import CentralBatches, TrainBatches
from videossl.data.loading.ring import Sample
from videossl.data.loading.sampling import (
    ClipRequest,
    Indices,
    around,
    cover,
    cover_at,
    random_start,
    span,
    uniform_starts,
    window,
)
from videossl.data.shards.store import ClipStore, Video
from videossl.study.schema import Augment, Clip, FrameSampling


@dataclass(frozen=True)
class Chosen:
    """Some examples of a test, as a loader sees them, and which of their frames it reads.

    Attributes:
        numbers: (N,) of the examples.
        videos: index of each one's video in the store.
        frames: (N,) the frame that each is about; ``None`` if they are whole videos.
        whole: whether the whole frame is seen, stretched to a square, in place of a crop.
        clip: how many frames, and how far apart.
        sampling: a window of the video, or a frame of each of its equal parts.
    """

    numbers: NDArray[np.int64]
    videos: Sequence[int]
    frames: NDArray[np.int64] | None
    whole: bool
    clip: Clip
    sampling: FrameSampling


class ExampleBatches(TrainBatches):
    """One augmented clip of each example, for training.

    A row's ``labels`` are the first and the last frame that its clip reaches over.
    """

    def __init__(
        self,
        store: ClipStore,
        chosen: Chosen,
        augment: Augment,
        batch_size: int,
        seed: int,
        never_flipped: Collection[int] = (),
    ) -> None:
        """Clips of the examples whose number is in ``never_flipped`` are not mirrored."""
        numbers = chosen.numbers.tolist()
        super().__init__(
            store, chosen.videos, lambda *_: [], augment, batch_size, seed, examples=numbers
        )
        self.chosen = chosen
        self.never_flipped = frozenset(never_flipped)

    def sample_of(self, step: int, row: int) -> Sample:
        """The clip of one row of a step's batch."""
        place = int(self._places(step)[row])
        number = int(self.examples[place])
        rng = np.random.default_rng([self.seed, step // self.steps_per_epoch, 1 + number])
        info = self.store.videos[int(self.videos[place])]
        frames = self._frames(rng, info.frames, place)
        drawn = draw(rng, self.augment, info.height, info.width)
        if self.chosen.whole:
            drawn[CROP] = whole(info.height, info.width)[CROP]
        if number in self.never_flipped:
            drawn[Field.FLIP] = 0
        reach = (float(frames.min()), float(frames.max()))
        return [(ClipRequest(frames, 0, labels=reach), drawn)]

    def _frames(self, rng: np.random.Generator, num_frames: int, place: int) -> Indices:
        clip = self.chosen.clip
        if self.chosen.frames is not None:
            return around(num_frames, int(self.chosen.frames[place]), clip.frames, clip.stride)
        if self.chosen.sampling == "cover":
            return cover(num_frames, clip.frames, rng)
        start = random_start(rng, num_frames, span(clip.frames, clip.stride))
        return window(num_frames, start, clip.frames, clip.stride)


class ViewBatches(CentralBatches):
    """``clips`` x ``crops`` views of every example, in order, for testing.

    Clips are spread evenly over the video, or around the example's moment; crops are squares at
    even places along the long side. Crops of one clip are neighbours.
    """

    def __init__(
        self,
        store: ClipStore,
        chosen: Chosen,
        clips: int,
        crops: int,
        batch_size: int,
    ) -> None:
        super().__init__(store, chosen.videos, chosen.clip, clips * crops, batch_size)
        self.chosen, self.crops = chosen, crops
        self.spread = clips
        self.numbers = np.repeat(chosen.numbers, clips * crops)

    def examples_of(self, step: int) -> NDArray[np.int64]:
        """The examples in a batch, (B,)."""
        return self.numbers[step * self.batch_size :][: self.batch_size]

    def _clip(self, info: Video, position: int) -> tuple[ClipRequest, Draw]:
        place, view = divmod(position, self.clips)
        clip, crop = divmod(view, self.crops)
        if self.chosen.whole:
            drawn = whole(info.height, info.width)
        else:
            drawn = squares(info.height, info.width, self.crops)[crop]
        return ClipRequest(self._frames(info.frames, place, clip), 0), drawn

    def _frames(self, num_frames: int, place: int, number: int) -> Indices:
        clip = self.clip
        if self.chosen.frames is not None:
            return around(num_frames, int(self.chosen.frames[place]), clip.frames, clip.stride)
        if self.chosen.sampling == "cover":
            return cover_at(num_frames, clip.frames, number, self.spread)
        start = uniform_starts(num_frames, span(clip.frames, clip.stride), self.spread)[number]
        return window(num_frames, start, clip.frames, clip.stride)
