"""Stage ``embed``: one feature per example from a frozen encoder, for all its protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from videossl.data.shards.store import ClipStore
from videossl.downstream import examples, features
from videossl.job import Job, write_json
from videossl.models import weights
from videossl.train.device import pick_device, place
from videossl.train.inference import per_clip

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
    """Write ``features.safetensors``: mean over evenly spread clips of each example's features.

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
    clips = per_clip(pooled, store, videos, clip, spec.clips, spec.batch_size, threads, colours)
    embedded = clips.mean(axis=1)
    features.save(embedded, found, job.out)
    counts = {"examples": len(embedded), "dimensions": embedded.shape[1]}
    write_json(job.out / "metrics.json", counts)
