"""A network over clips of videos at fixed places, without augmentation: deterministic testing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from videossl.data.loading.augment import Colours
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import Batch, CentralBatches, batches
from videossl.data.shards.store import ClipStore
from videossl.study.schema import Clip
from videossl.train.device import pick_device, readers

Forward = Callable[[nn.Module, Tensor, Batch], Tensor]


def _alone(module: nn.Module, clips: Tensor, batch: Batch) -> Tensor:
    outputs: Tensor = module(clips)
    return outputs


@torch.no_grad()
def outputs_of(
    module: nn.Module,
    source: CentralBatches,
    threads: int,
    colours: Colours,
    forward: Forward = _alone,
) -> Tensor:
    """Outputs of ``module`` in eval mode, on the CPU, batch after batch; its mode is put back.

    Clips are normalised by ``colours``. Beside a GPU, all of the ``threads`` but one read clips.
    ``forward`` calls the module where it wants more than clips.
    """
    device = pick_device()
    training = module.training
    module.eval()
    parts = []
    stream = batches(source, readers(device, threads), pin=device.type == "cuda")
    total, hidden = len(source.steps()), not sys.stderr.isatty()
    for batch in tqdm(stream, total=total, unit="batch", disable=hidden):
        moved = batch.to(device)
        (x,) = to_device_clips(moved, source.clip.size, colours)
        parts.append(forward(module, x, moved).float().cpu())
    module.train(training)
    return torch.cat(parts)


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
    """Outputs (videos, clips, D) of evenly spread, centrally cropped clips: see ``outputs_of``."""
    source = CentralBatches(store, videos, clip, clips, batch_size)
    out = outputs_of(module, source, threads, colours)
    return out.view(len(videos), clips, -1).numpy()
