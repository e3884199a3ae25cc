"""A network over clips of videos at fixed places, without augmentation: deterministic testing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from videossl.data.loading.augment import Colours
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import Batch, CentralBatches, batches
from videossl.train.device import pick_device, readers

Forward = Callable[[nn.Module, Tensor, Batch], Tensor]


def _alone(module: nn.Module, clips: Tensor, batch: Batch) -> Tensor:
    outputs: Tensor = module(clips)
    return outputs


def output_blocks(
    module: nn.Module,
    source: CentralBatches,
    threads: int,
    colours: Colours,
    forward: Forward = _alone,
) -> Iterator[Tensor]:
    """Outputs of ``module`` in eval mode, on the CPU, a batch at a time; its mode is put back.

    Clips are normalised by ``colours``. Beside a GPU, all of the ``threads`` but one read clips.
    ``forward`` calls the module where it wants more than clips.
    """
    device = pick_device()
    training = module.training
    module.eval()
    stream = batches(source, readers(device, threads), pin=device.type == "cuda")
    total, hidden = len(source.steps()), not sys.stderr.isatty()
    try:
        for batch in tqdm(stream, total=total, unit="batch", disable=hidden):
            moved = batch.to(device)
            (x,) = to_device_clips(moved, source.clip.size, colours)
            with torch.no_grad():
                outputs = forward(module, x, moved)
            yield outputs.float().cpu()
    finally:
        module.train(training)


def outputs_of(
    module: nn.Module,
    source: CentralBatches,
    threads: int,
    colours: Colours,
    forward: Forward = _alone,
) -> Tensor:
    """All outputs at once: see ``output_blocks``."""
    return torch.cat(list(output_blocks(module, source, threads, colours, forward)))


def clip_blocks(
    module: nn.Module, source: CentralBatches, threads: int, colours: Colours
) -> Iterator[NDArray[np.float32]]:
    """Outputs (some examples, clips, D) of all clips of each of the source's examples, in order.

    As soon as all clips of one are through, so that a large dataset is never held whole.
    """
    clips = source.clips
    kept = torch.empty(0)
    for outputs in output_blocks(module, source, threads, colours):
        kept = torch.cat((kept, outputs)) if len(kept) else outputs
        whole = len(kept) // clips
        if whole:
            yield kept[: whole * clips].view(whole, clips, -1).numpy()
            kept = kept[whole * clips :]
