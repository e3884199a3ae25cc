"""HDC: spatial and temporal contrast, decoupled, at several depths of the backbone.

Source: Zhang and Crandall, "Hierarchically Decoupled Spatial-Temporal Contrast for Self-supervised
Video Representation Learning", WACV 2022. Spatial contrast: two augmentations of the same frames,
maps pooled over space with the time axis kept. Temporal contrast: two windows of a video, augmented
too, maps pooled over time and space. Both at several stages, each with its own weight and head.

What the paper leaves open is our interpretation, and ``docs/methods/hdc.md`` says so: above all, a
time step of spatial contrast is told from the same step of other videos, never from other steps of
its own; and both views of a pair are queries, as in SimCLR.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videossl import distributed
from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.job import UserError
from videossl.methods.base import Method
from videossl.models.backbone import Backbone
from videossl.models.heads import MLP
from videossl.study import schema

LEAST_INVARIANCE = 1e-3  # a level whose views disagree keeps a little weight: it can come back
LEAST_NORM = 1e-2  # of an embedding: with all ReLUs of a head off it is 0, its gradient 1 / this


def pool_space(map_: Tensor) -> Tensor:
    """What spatial contrast sees: (B, C, T, H, W) -> (B, T, C)."""
    return map_.mean(dim=(3, 4)).transpose(1, 2)


def pool_all(map_: Tensor) -> Tensor:
    """What temporal contrast sees: (B, C, T, H, W) -> (B, 1, C)."""
    return map_.mean(dim=(2, 3, 4)).unsqueeze(1)


def contrast(first: Tensor, second: Tensor, video: Tensor, temperature: float) -> dict[str, Tensor]:
    """SimCLR's loss (NT-Xent) in several slots, which never meet: a slot is a level or a time step.

    Every row of both views is a query once; its positive is the same row and slot of the other
    view, its negatives are that slot of both views of all other videos of the global batch.
    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    ICML 2020, eq. 1, for each slot.

    Args:
        first: (B, S, D), this rank's rows in S slots.
        second: (B, S, D), the other view.
        video: (B,), which video each row comes from.
        temperature: the cosines are divided by it.

    Returns:
        Per slot, (S,): ``loss``, whose mean over ranks is that of the global batch; ``similarity``,
        the mean cosine of positives, and ``accuracy``, the share of queries whose positive is the
        nearest, both detached.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = torch.stack([first, second], dim=1)
        views = views if views.dtype == torch.float64 else views.float()
        views = F.normalize(views, dim=-1, eps=LEAST_NORM)  # (B, 2, S, D)
        everyone = distributed.gather_with_gradient(views)  # (N, 2, S, D)
        negative = torch.einsum("bvsd,nwsd->bvsnw", views, everyone) / temperature
        own = video.unsqueeze(1) == distributed.gather(video)  # (B, N)
        # finite, unlike -inf, so that a query without any negative has finite gradients
        low = torch.finfo(negative.dtype).min
        negative = negative.masked_fill(own[:, None, None, :, None], low)
        similarity = (views[:, 0] * views[:, 1]).sum(dim=-1)  # (B, S)
        positive = similarity.unsqueeze(1) / temperature  # (B, 1, S): of both views' queries
        rest = negative.logsumexp(dim=(3, 4))  # (B, 2, S)
        loss = (torch.logaddexp(positive, rest) - positive).mean(dim=(0, 1))
    nearest = positive.detach() > negative.detach().amax(dim=(3, 4))
    return {
        "loss": loss,
        "similarity": similarity.detach().mean(dim=0),
        "accuracy": nearest.float().mean(dim=(0, 1)),
    }


def invariance(similarity: Tensor) -> Tensor:
    """Weights of levels from their mean cosines of positives: (K,) -> (K,), the largest is 1."""
    similarity = similarity.clamp(min=LEAST_INVARIANCE)
    return similarity / similarity.amax()


class Contrast(nn.Module):
    """One subtask at the levels that have a weight: a head for each, and their weighted losses.

    Attributes:
        levels: which of the hierarchy's levels, 0 is the shallowest.
        weights: (K,) float32, as given, not in checkpoints.
    """

    weights: Tensor

    def __init__(
        self, params: schema.HDC, weights: list[float], adaptive: bool, widths: list[int]
    ) -> None:
        super().__init__()
        self.levels = [level for level, weight in enumerate(weights) if weight > 0]
        self.adaptive, self.temperature = adaptive, params.temperature
        kept = torch.tensor([weights[level] for level in self.levels])
        self.register_buffer("weights", kept, persistent=False)
        self.heads = nn.ModuleList(
            MLP([widths[level], params.hidden, params.dim], batch_norm=False)
            for level in self.levels
        )

    def embed(self, pooled: list[Tensor]) -> Tensor:
        """One (B, T_k, C_k) per level -> (B, S, dim), the time steps of all levels as slots."""
        chosen = (pooled[level] for level in self.levels)
        return torch.cat(
            [head(features) for head, features in zip(self.heads, chosen, strict=True)], dim=1
        )

    def forward(
        self, first: list[Tensor], second: list[Tensor], video: Tensor
    ) -> dict[str, Tensor]:
        """``loss``, weighted over levels, and per level (K,) what ``contrast`` says.

        Args:
            first: pooled features, one (B, T_k, C_k) for every level of the hierarchy.
            second: those of the other view.
            video: (B,), which video each row comes from.
        """
        slots = contrast(self.embed(first), self.embed(second), video, self.temperature)
        steps = [first[level].shape[1] for level in self.levels]
        found = {
            name: torch.stack([level.mean() for level in torch.split(values, steps)])
            for name, values in slots.items()
        }
        weights = self.weights
        if self.adaptive:
            everywhere = distributed.total(found["similarity"]) / distributed.world()
            weights = weights * invariance(everywhere)
        found["loss"] = (weights * found["loss"]).sum()
        return found


class HDC(Method):
    """The method; its clips are v1, v2 with the frames of v1, and v3 of another window.

    v1 and v2 are the pair of spatial contrast, v1 and v3 that of temporal contrast. A view that
    only a subtask without any weight needs is not asked for.
    """

    def __init__(
        self,
        params: schema.HDC,
        hierarchy: schema.Hierarchy,
        clip: schema.Clip,
        encoder: nn.Module,
    ) -> None:
        super().__init__(encoder)
        self.params, self.clip = params, clip
        self.span = self.reach(params, hierarchy, clip).frames
        self.depth = len(hierarchy.spatial)
        widths = cast(Backbone, encoder).stage_features
        if len(widths) < self.depth:
            raise UserError(
                f"task.hierarchy: {self.depth} levels, but the backbone has {len(widths)} stages; "
                f"allowed: <= {len(widths)} weights in spatial and in temporal"
            )
        widths = widths[-self.depth :]
        adaptive = hierarchy.weights == "invariance"
        self.spatial = Contrast(params, hierarchy.spatial, adaptive, widths)
        self.temporal = Contrast(params, hierarchy.temporal, adaptive, widths)

    def _levels(self, clip: Tensor) -> list[Tensor]:
        """(B, 3, T, S, S) -> the maps of the last stages, shallow to deep."""
        return cast(Backbone, self.encoder)(clip, maps=True)[-self.depth :]

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """One window in two views, and another in a third."""
        here, there = (sampling.random_start(rng, num_frames, self.span) for _ in range(2))
        starts = [here]
        if self.spatial.levels:
            starts.append(here)
        if self.temporal.levels:
            starts.append(there)
        length, stride = self.clip.frames, self.clip.stride
        return [
            ClipRequest(sampling.window(num_frames, start, length, stride), draw_id)
            for draw_id, start in enumerate(starts)
        ]

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The clips by their windows."""
        names = ["anchor"]
        if self.spatial.levels:
            names.append("same window")
        if self.temporal.levels:
            names.append("other window")
        return dict(zip(names, clips, strict=True))

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; ``clips`` are v1, v2 and v3, as far as they are asked for."""
        anchor, *others = (self._levels(clip) for clip in clips)
        subtasks = [
            ("spatial", self.spatial, pool_space, others[0]),
            ("temporal", self.temporal, pool_all, others[-1]),
        ]
        parts: list[Tensor] = []
        metrics: dict[str, Tensor] = {}
        for name, subtask, pool, other in subtasks:
            if not subtask.levels:
                continue
            found = subtask([pool(m) for m in anchor], [pool(m) for m in other], video)
            parts.append(found["loss"])
            metrics[f"{name}_loss"] = found["loss"].detach()
            metrics[f"{name}_accuracy"] = found["accuracy"][-1]  # at its deepest level
            for level, similarity in zip(subtask.levels, found["similarity"], strict=True):
                metrics[f"{name}_similarity_{level + 1}"] = similarity
        return {"loss": torch.stack(parts).sum(), **metrics}


def build(
    params: schema.HDC, hierarchy: schema.Hierarchy, clip: schema.Clip, encoder: nn.Module
) -> HDC:
    """HDC around ``encoder``; ``hierarchy`` weighs the two subtasks at each level.

    Raises:
        UserError: the backbone has fewer stages than there are levels.
    """
    return HDC(params, hierarchy, clip, encoder)
