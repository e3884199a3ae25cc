"""Stage ``embed``: one feature per video from a frozen encoder, for all frozen protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.shards.store import ClipStore
from videossl.downstream import features
from videossl.job import Job, write_json
from videossl.models import weights
from videossl.train.device import pick_device, place
from videossl.train.inference import per_clip

if TYPE_CHECKING:
    from videossl.study.params import EmbedParams


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
    """Write ``features.safetensors``: mean over evenly spread clips of each video's features."""
    torch.set_num_threads(job.threads)
    spec = params.embed
    store = ClipStore(job.input("shards"))
    encoder = job.modules["backbone"].build(params.model)
    weights.load(encoder, job.input("weights") / "encoder.safetensors")
    device = pick_device()
    pooled = encoder if spec.pool == "mean" else MaxPooled(encoder)
    place(pooled, device)

    def part(name: str) -> features.Part:
        videos = store.members(params.split, name)
        clips = per_clip(
            pooled, store, videos, params.clip, spec.clips, spec.batch_size, device, job.threads
        )
        labels = np.array([store.videos[v].label for v in videos], dtype=np.int64)
        return features.Part(clips.mean(axis=1), labels)

    train, test = part("train"), part("test")
    features.save(train, test, job.out / "features.safetensors")
    counts = {"train": len(train.labels), "test": len(test.labels)}
    write_json(job.out / "metrics.json", {**counts, "dimensions": train.features.shape[1]})
