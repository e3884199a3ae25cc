"""Stage ``embed``: features of each example from a frozen encoder, for all its protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videossl.data.loading.example_batches import Chosen, ViewBatches
from videossl.data.shards.store import ClipStore
from videossl.downstream import examples, features, spread, tokens
from videossl.job import Job, UserError, write_json
from videossl.models import weights
from videossl.models.backbone import Backbone
from videossl.progress import Progress
from videossl.train.device import pick_device, place
from videossl.train.inference import clip_blocks

if TYPE_CHECKING:
    from videossl.study.reads import EmbedParams


class Described(nn.Module):
    """What is kept of a clip: the pooled maps of some stages, and perhaps the last of them whole.

    Attributes:
        widths: channels of each of the pooled maps.
    """

    def __init__(
        self, encoder: Backbone, layers: Sequence[int], pool: Literal["mean", "max"], whole: bool
    ) -> None:
        super().__init__()
        self.encoder, self.layers, self.pool, self.whole = encoder, layers, pool, whole
        self.widths = [encoder.stage_features[layer] for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) -> (B, sum of widths), then the L * D values of the last map."""
        maps = self.encoder(x, maps=True)
        places = [maps[layer].flatten(2) for layer in self.layers]  # (B, D, L) each
        found = [p.mean(dim=2) if self.pool == "mean" else p.amax(dim=2) for p in places]
        if self.whole:
            found.append(places[-1].transpose(1, 2).flatten(1))
        return torch.cat(found, dim=1)


def run(job: Job, params: EmbedParams) -> None:
    """Write ``features.npy``: mean over evenly spread clips of each example's features.

    Of an example that is about a frame the clip is the one around it. And, where the test asks for
    them, ``tokens.npy``. How many dimensions the features use is in ``metrics.json``.

    Raises:
        UserError: a feature is not finite, the encoder has fewer stages, or the disk has too little
            room for the tokens.
    """
    spec, key = params.features, f"probe.{job.key['test']}.features"
    found = examples.read(job.input("examples"))
    store = ClipStore(job.input("shards"))
    encoder = weights.load_encoder(job.input("weights") / "encoder.safetensors")
    if (stages := len(encoder.stage_features)) < -min(spec.layers):
        raise UserError(f"{key}.layers = {spec.layers}: the encoder has {stages} stages")
    described = Described(encoder, spec.layers, spec.pool, spec.tokens)
    place(described, pick_device())
    numbers = np.arange(len(found.videos))
    videos = found.stored(store, numbers)
    chosen = Chosen(numbers, videos, found.frames, False, params.clip, "window")
    views = ViewBatches(store, chosen, spec.clips, 1, spec.batch_size)
    blocks = clip_blocks(described, views, job.threads, encoder.colours)
    kept = tokens.writing(job.out, len(videos), key) if spec.tokens else nullcontext()
    with kept as writer:
        rows = _features(blocks, described.widths, writer, Progress(job.scratch, len(videos)))
        count, width = features.save(rows, found, job.out)
    features.write_layers(job.out, spec.layers, described.widths)
    used = spread.measure(job.out / features.FILE)
    write_json(job.out / "metrics.json", {"examples": count, "dimensions": width, **used})


def _features(
    blocks: Iterator[NDArray[np.float32]],
    widths: Sequence[int],
    writer: tokens.Writer | None,
    news: Progress,
) -> Iterator[NDArray[np.float32]]:
    """Blocks (n, clips, all) -> the features (n, D); tokens go to ``writer``."""
    width, last = sum(widths), widths[-1]
    for block in blocks:
        if writer is not None:
            writer.write(block[..., width:].reshape(*block.shape[:2], -1, last))
        yield block[..., :width].mean(axis=1)
        news.step(len(block))
