"""ρMoCo: momentum contrast over ρ clips of a video.

Source: Feichtenhofer et al., "A Large-Scale Study on Unsupervised Spatiotemporal Representation
Learning", CVPR 2021 (eq. 1 and section 3.2). Each clip is the query once, with the keys of the
other clips as positives and a queue of other videos' keys as negatives; the losses are averaged.
With ρ = 1 the two clips show the same frames under two augmentations.

Where this differs from the released code: gradients are averaged over the queries, not summed;
keys of all ranks enter the queue; a video's own queue entries never serve as negatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from videossl import losses, schema
from videossl.data import clips as index
from videossl.data.clips import ClipRequest
from videossl.methods.base import Method, MomentumEncoder, Queue
from videossl.models.heads import MLP


class RhoMoCo(Method):
    """The method; its clips are max(ρ, 2) views of a video, all in the same role."""

    def __init__(
        self, params: schema.RhoMoCo, rho: int, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(encoder)
        self.params, self.rho, self.clip = params, rho, clip
        self.span = span(params, rho, clip)
        hidden = [params.hidden] * (params.layers - 1)
        self.head = MLP([self.num_features, *hidden, params.dim], batch_norm=False)
        self.target = MomentumEncoder(encoder, self.head)
        self.queue = Queue(params.queue, params.dim)

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """ρ windows at independent times, or for ρ = 1 one window twice; each its own view."""
        starts = [index.random_start(rng, num_frames, self.span) for _ in range(self.rho)]
        if self.rho == 1:
            starts = starts * 2
        length, stride = self.clip.frames, self.clip.stride
        return [
            ClipRequest(index.window(num_frames, start, length, stride), view)
            for view, start in enumerate(starts)
        ]

    def forward(self, clips: list[Tensor], video: Tensor) -> dict[str, Tensor]:
        """See ``Method.forward``; holds the activations of all clips."""
        parts: list[Tensor] = []
        out = self._step(clips, video, parts.append)
        return {**out, "loss": torch.stack(parts).sum()}

    def training_step(
        self, clips: list[Tensor], video: Tensor, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """As the base class, or in ``sequential`` mode with the activations of one clip at a time.

        The gradients are the same: each clip passes alone, so BN sees the same batches either way.
        """
        if self.params.mode == "parallel":
            return super().training_step(clips, video, backward)
        return self._step(clips, video, backward)

    def _step(
        self, clips: list[Tensor], video: Tensor, consume: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """Hand each query's share of the loss to ``consume``; returns detached scalars."""
        keys = torch.stack([losses.normalize(self.target(clip)) for clip in clips], dim=1)
        negatives, mask = self.queue.keys, self.queue.mask(video)
        found: dict[str, list[Tensor]] = {"loss": [], "instance_accuracy": []}
        found["positive_similarity"] = []
        for i, clip in enumerate(clips):
            query = losses.normalize(self.head(self.encoder(clip)))  # (B, D)
            positives = torch.cat([keys[:, :i], keys[:, i + 1 :]], dim=1)  # (B, P, D)
            loss = losses.info_nce(
                query, positives, negatives, self.params.temperature, mask, self.params.positives
            )
            consume(loss / len(clips))
            query = query.detach()
            found["loss"].append(loss.detach())
            found["instance_accuracy"].append(
                losses.instance_accuracy(query, positives, negatives, mask)
            )
            similarity = losses.cosine(query.unsqueeze(1), positives)  # (B, P)
            found["positive_similarity"].append(similarity.mean())
        for key in keys.unbind(dim=1):
            self.queue.enqueue(key, video)
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def after_step(self, progress: float) -> None:
        """Move the target towards the online networks, on the cosine schedule less and less."""
        momentum = self.params.momentum
        if self.params.momentum_schedule == "cosine":
            momentum = cosine_momentum(momentum, progress)
        self.target.update(self.encoder, self.head, momentum)


def cosine_momentum(base: float, progress: float) -> float:
    """From ``base`` at the start to 1 at the end, along half a cosine."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def span(params: schema.RhoMoCo, rho: int, clip: schema.Clip) -> int:
    """Source frames of one clip, first to last."""
    return index.span(clip.frames, clip.stride)


def build(params: schema.RhoMoCo, rho: int, clip: schema.Clip, encoder: nn.Module) -> RhoMoCo:
    """ρMoCo around ``encoder``; ``rho`` is the number of clips of a video."""
    return RhoMoCo(params, rho, clip, encoder)
