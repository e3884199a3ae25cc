"""ρBYOL: every clip of a video predicts the momentum encoder's features of its other clips.

Source: Feichtenhofer et al., "A Large-Scale Study on Unsupervised Spatiotemporal Representation
Learning", CVPR 2021 (eq. 2 and section 3.2), after Grill et al., "Bootstrap Your Own Latent",
NeurIPS 2020. Each clip passes the online encoder, projector and predictor once; its targets are the
projections of the other clips by the momentum encoder, which has no predictor. There are no
negatives. With ρ = 1 the two clips show the same frames under two augmentations.

Where this differs from the paper: the loss is a mean over the targets, not their sum, so that it
does not grow with ρ. Where it differs from the released code: gradients are averaged over the
clips, not summed, and the loss has the constant that makes it the squared distance.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from videossl.methods import losses
from videossl.methods.base import MomentumEncoder
from videossl.methods.rho import SequentialRhoMethod, momentum
from videossl.models.heads import MLP
from videossl.study import schema


def regression(prediction: Tensor, targets: Tensor) -> Tensor:
    """Squared distance of unit vectors, 2 - 2 cos: eq. 2 times 2, but for the constant.

    Args:
        prediction: (B, D).
        targets: (B, P, D), of the same video each.

    Returns:
        The mean over the B x P pairs: 0 where they agree, 2 where they are orthogonal.
    """
    return (2 - 2 * losses.cosine(prediction.unsqueeze(1), targets)).mean()


class RhoBYOL(SequentialRhoMethod):
    """The method; its clips are max(ρ, 2) views of a video, all in the same role."""

    def __init__(
        self, params: schema.RhoBYOL, rho: int, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(params, rho, clip, encoder)
        self.params = params
        hidden = [params.projector_hidden] * (params.projector_layers - 1)
        self.projector = MLP([self.num_features, *hidden, params.dim], params.batch_norm)
        hidden = [params.predictor_hidden] * (params.predictor_layers - 1)
        self.predictor = MLP([params.dim, *hidden, params.dim], params.batch_norm)
        self.target_encoder = MomentumEncoder(encoder, self.projector)

    def step(
        self, clips: list[Tensor], video: Tensor, consume: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """See ``RhoMethod.step``; each clip predicts the others once."""
        targets = torch.stack([self.target_encoder(clip) for clip in clips], dim=1)  # (B, ρ, D)
        parts: list[Tensor] = []
        for i, clip in enumerate(clips):
            prediction = self.predictor(self.projector(self.encoder(clip)))  # (B, D)
            others = torch.cat([targets[:, :i], targets[:, i + 1 :]], dim=1)  # (B, P, D)
            loss = regression(prediction, others) / len(clips)
            consume(loss)
            parts.append(loss.detach())
        total = torch.stack(parts).sum()
        return {"loss": total, "positive_similarity": 1 - total / 2}

    def after_step(self, progress: float) -> None:
        """Move the target encoder to the online networks, on the cosine schedule ever less."""
        self.target_encoder.update(self.encoder, self.projector, momentum(self.params, progress))


def build(params: schema.RhoBYOL, rho: int, clip: schema.Clip, encoder: nn.Module) -> RhoBYOL:
    """ρBYOL around ``encoder``; ``rho`` is the number of clips of a video."""
    return RhoBYOL(params, rho, clip, encoder)
