"""ρSimCLR: clips of a video against all clips of the batch's other videos.

Source: Feichtenhofer et al., "A Large-Scale Study on Unsupervised Spatiotemporal Representation
Learning", CVPR 2021 (eq. 1 and section 3.2), after Chen et al., "A Simple Framework for Contrastive
Learning of Visual Representations", ICML 2020. Each clip is the query once, the other clips of its
video are the positives, every clip of every other video of the global batch is a negative; the
losses are averaged, and all embeddings take a gradient. With ρ = 1 the two clips show the same
frames under two augmentations.

Where this differs from the released code for ρ > 2: one loss over all clips of a video, not a loss
per pair of clips that follow one another. The sequential mode is ours; it caches the gradient of
the embeddings (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup", RepL4NLP 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from videossl import distributed
from videossl.methods import losses
from videossl.methods.rho import RhoMethod, unmoved
from videossl.models.heads import MLP
from videossl.study import schema


def positives(embeddings: Tensor) -> Tensor:
    """The other clips of each clip's video: (B, R, D) -> (B x R, R - 1, D)."""
    others = [embeddings.roll(-shift, dims=1) for shift in range(1, embeddings.shape[1])]
    return torch.stack(others, dim=2).flatten(0, 1)


def contrast(embeddings: Tensor, video: Tensor, temperature: float) -> dict[str, Tensor]:
    """Eq. 1 with every clip as the query once, averaged over this rank's clips.

    Args:
        embeddings: (B, R, D), the clips of this rank's videos.
        video: (B,), which video each row is; clips of a video are never its negatives.
        temperature: the cosines are divided by it.

    Returns:
        ``loss`` with gradient to the clips of all ranks, and detached measures.
    """
    count = embeddings.shape[1]
    queries, others = embeddings.flatten(0, 1), positives(embeddings)
    negatives = distributed.gather_with_gradient(embeddings).flatten(
        0, 1
    )  # (clips of all ranks, D)
    owners = distributed.gather(video).repeat_interleave(count)
    mask = video.repeat_interleave(count).unsqueeze(1) == owners
    loss = losses.info_nce(queries, others, negatives, temperature, mask)
    queries, others = queries.detach(), others.detach()
    return {
        "loss": loss,
        "instance_accuracy": losses.instance_accuracy(queries, others, negatives.detach(), mask),
        "positive_similarity": losses.cosine(queries.unsqueeze(1), others).mean(),
    }


class RhoSimCLR(RhoMethod):
    """The method; its clips are max(ρ, 2) views of a video, all in the same role.

    In ``sequential`` mode each clip passes without gradient, the loss gives the gradient of the
    embeddings, and each clip passes again to take its part of it to the weights.
    """

    def __init__(
        self, params: schema.RhoSimCLR, rho: int, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(params, rho, clip, encoder)
        self.params = params
        hidden = [params.hidden] * (params.layers - 1)
        self.head = MLP([self.num_features, *hidden, params.dim], params.batch_norm)

    def embed(self, clip: Tensor) -> Tensor:
        """Unit vectors of one clip of each video; BN sees these clips together, and no others."""
        return losses.normalize(self.head(self.encoder(clip)))  # (B, D)

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; holds the activations of all clips."""
        embeddings = torch.stack([self.embed(clip) for clip in clips], dim=1)
        return contrast(embeddings, video, self.params.temperature)

    def step(
        self, clips: list[Tensor], video: Tensor, consume: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """See ``RhoMethod.step``; each clip passes twice."""
        with torch.no_grad():
            embeddings = torch.stack([self.embed(clip) for clip in clips], dim=1)
        embeddings.requires_grad_()
        out = contrast(embeddings, video, self.params.temperature)
        (gradient,) = torch.autograd.grad(out["loss"], embeddings)
        out = {name: value.detach() for name, value in out.items()}
        with unmoved(self.encoder, self.head):
            for i, clip in enumerate(clips):
                share = (self.embed(clip) * gradient[:, i]).sum()
                # its value is a share of the loss, as ``Method.training_step`` promises
                consume(share + (out["loss"] / len(clips) - share.detach()))
        return out


def build(params: schema.RhoSimCLR, rho: int, clip: schema.Clip, encoder: nn.Module) -> RhoSimCLR:
    """ρSimCLR around ``encoder``; ``rho`` is the number of clips of a video."""
    return RhoSimCLR(params, rho, clip, encoder)
