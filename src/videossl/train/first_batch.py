"""What a method was given: some clips of a training's first step, after augmentation, for the page.

The file is a function of data, parameters and seed: it is written before training, by one process
and for the same rows of the whole batch, however many ranks share that batch. No random number of
the training is taken, as clips and draws of a batch depend on seed and step only.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videossl.data.loading.augment import Colours
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import TrainBatches, batches
from videossl.data.loading.thumbnails import thumbnails
from videossl.methods.base import Method

FILE = "batch.npz"
VIDEOS = 4  # that are shown


@torch.no_grad()
def write(method: Method, source: TrainBatches, size: int, colours: Colours, path: Path) -> None:
    """Write ``videos`` (V,), ``names`` (K,), and for each of these ``clip0``, ``clip1``, ...

    A clip is (V, F, S, S, 3) uint8 RGB, see ``thumbnails``; its name is what the method calls it.

    Args:
        method: on the CPU.
        source: the batches of the training.
        size: side of the clips in pixels.
        colours: that the method's clips are normalised by.
        path: of the file.
    """
    first = source.between(0, 1, range(min(VIDEOS, source.batch_size)))
    # read by a process, as the training's are: this one opens no shard that others would inherit
    with closing(batches(first, workers=1)) as stream:
        batch = next(stream)
        clips = to_device_clips(batch, size, colours)
        shown = method.shown(clips, batch.labels)
        names = [source.store.videos[int(video)].name for video in batch.video]
    arrays: dict[str, Any] = {"videos": np.array(names), "names": np.array(list(shown))}
    for number, clip in enumerate(shown.values()):
        arrays[f"clip{number}"] = thumbnails(clip, colours)
    np.savez_compressed(path, **arrays)
