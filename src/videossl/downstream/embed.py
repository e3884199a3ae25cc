"""Stage ``embed``: one feature per example from a frozen encoder, for all its protocols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from videossl.data.shards.store import ClipStore
from videossl.downstream import examples, features
from videossl.job import Job, write_json
from videossl.models import weights
from videossl.progress import Progress
from videossl.train.device import pick_device, place
from videossl.train.inference import clip_blocks

if TYPE_CHECKING:
    from videossl.study.reads import EmbedParams


class MaxPooled(nn.Module):
    """An encoder whose last feature map is max-pooled over time and space."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) -> features (B, D)."""
        maps: Tensor = self.encoder.forward_features(x)  # type: ignore[operator]
        return maps.amax(dim=(2, 3, 4))


def run(job: Job, params: EmbedParams) -> None:
    """Write ``features.npy``: mean over evenly spread clips of each example's features.

    Raises:
        UserError: a feature is not finite.
    """
    spec = params.features
    found = examples.read(job.input("examples"))
    store = ClipStore(job.input("shards"))
    encoder = weights.load_encoder(job.input("weights") / "encoder.safetensors")
    pooled = encoder if spec.pool == "mean" else MaxPooled(encoder)
    place(pooled, pick_device())
    videos = found.stored(store, range(len(found.videos)))
    clip, threads, colours = params.clip, job.threads, encoder.colours
    blocks = clip_blocks(pooled, store, videos, clip, spec.clips, spec.batch_size, threads, colours)
    count, width = features.save(_averaged(blocks, job, len(videos)), found, job.out)
    write_json(job.out / "metrics.json", {"examples": count, "dimensions": width})


def _averaged(
    blocks: Iterator[NDArray[np.float32]], job: Job, count: int
) -> Iterator[NDArray[np.float32]]:
    """Blocks (n, clips, D) -> (n, D), telling how many of ``count`` videos are done."""
    news = Progress(job.scratch, count)
    for block in blocks:
        yield block.mean(axis=1)
        news.step(len(block))
