"""A network over evenly spread, centrally cropped clips of videos: deterministic testing."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from videossl.data.loading.augment import Colours
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import CentralBatches, batches
from videossl.data.shards.store import ClipStore
from videossl.study.schema import Clip
from videossl.train.device import pick_device, readers


@torch.no_grad()
def per_clip(
    module: nn.Module,
    store: ClipStore,
    videos: Sequence[int],
    clip: Clip,
    clips: int,
    batch_size: int,
    threads: int,
    colours: Colours,
) -> NDArray[np.float32]:
    """Outputs (videos, clips, D) of ``module`` in eval mode; the mode it was in is put back.

    Clips are normalised by ``colours``. Beside a GPU, all of the ``threads`` but one read clips.
    """
    device = pick_device()
    training = module.training
    module.eval()
    total = -(-len(videos) * clips // batch_size)
    parts = []
    source = CentralBatches(store, videos, clip, clips, batch_size)
    stream = batches(source, readers(device, threads), pin=device.type == "cuda")
    for batch in tqdm(stream, total=total, unit="batch", disable=not sys.stderr.isatty()):
        moved = batch.to(device)
        (x,) = to_device_clips(moved, clip.size, colours)
        parts.append(module(x).float().cpu())
    module.train(training)
    out = torch.cat(parts)
    return out.view(len(videos), clips, -1).numpy()
