"""ρMoCo: momentum contrast over ρ clips of a video.

Source: Feichtenhofer et al., "A Large-Scale Study on Unsupervised Spatiotemporal Representation
Learning", CVPR 2021 (eq. 1 and section 3.2). Each clip is the query once, with the keys of the
other clips as positives and a queue of other videos' keys as negatives; the losses are averaged.
With ρ = 1 the two clips show the same frames under two augmentations.

Where this differs from the released code: gradients are averaged over the queries, not summed;
keys of all ranks enter the queue; a video's own queue entries never serve as negatives.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from videossl.methods import losses
from videossl.methods.base import MomentumEncoder, Queue
from videossl.methods.rho import SequentialRhoMethod, momentum
from videossl.models.heads import MLP
from videossl.study import schema


class RhoMoCo(SequentialRhoMethod):
    """The method; its clips are max(ρ, 2) views of a video, all in the same role."""

    def __init__(
        self, params: schema.RhoMoCo, rho: int, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(params, rho, clip, encoder)
        self.params = params
        hidden = [params.hidden] * (params.layers - 1)
        self.head = MLP([self.num_features, *hidden, params.dim], batch_norm=False)
        self.key_encoder = MomentumEncoder(encoder, self.head)
        self.queue = Queue(params.queue, params.dim)

    def step(
        self, clips: list[Tensor], video: Tensor, consume: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """See ``RhoMethod.step``; each clip is the query once."""
        keys = torch.stack([losses.normalize(self.key_encoder(clip)) for clip in clips], dim=1)
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
        """Move the key encoder to the online networks, on the cosine schedule ever less."""
        self.key_encoder.update(self.encoder, self.head, momentum(self.params, progress))


def build(params: schema.RhoMoCo, rho: int, clip: schema.Clip, encoder: nn.Module) -> RhoMoCo:
    """ρMoCo around ``encoder``; ``rho`` is the number of clips of a video."""
    return RhoMoCo(params, rho, clip, encoder)
