"""VTDL: temporal triplets, temporal consistent augmentation and a memory of other videos.

Source: Wang et al., "Self-supervised Temporal Discriminative Representation Learning for Video
Action Recognition", arXiv 2008.02129. Two augmented clips of one interval of a video are closer
than a clip of another interval of it, and closer than clips of other videos.

Where this differs from the released code: the negative's interval really is another one (theirs
overlaps the anchor's by half or more in most triplets of UCF101 and HMDB51), and a video too short
for two has no temporal negative; the blend is drawn per video, not per batch; a video's own queue
entries never serve as negatives; clips are sampled from whole videos.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.job import UserError
from videossl.methods import losses
from videossl.methods.base import Method, MomentumEncoder, Queue
from videossl.needs import TwoIntervals
from videossl.study import schema


def static_blend(clip: Tensor, share: Tensor, frame: Tensor) -> Tensor:
    """Blend one frame of each clip into all frames: (1 - share) * x_t + share * x_frame.

    Differences over time, of any order, are those of the input times 1 - share. Values stay
    normalised as they are and are not clamped, which would break that.

    Source: temporal consistent augmentation (TCA) in the released code.

    Args:
        clip: (B, C, T, H, W).
        share: (B,) in [0, 1].
        frame: (B,) indices into T, of any type.

    Returns:
        (B, C, T, H, W).
    """
    rows = torch.arange(len(clip), device=clip.device)
    still = clip[rows, :, frame.long()].unsqueeze(2)  # (B, C, 1, H, W)
    return clip.lerp(still, share.to(clip.dtype).view(-1, 1, 1, 1, 1))


def triplet_negatives(
    temporal: Tensor, has_temporal: Tensor, keys: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """The negatives of a batch as one matrix: the queue for all, each row's temporal one for it.

    Args:
        temporal: (B, D), row b the other interval of video b.
        has_temporal: (B,) bool, False where a video has none.
        keys: (K, D) of the queue.
        mask: (B, K), True where a key does not count for a row.

    Returns:
        (K + B, D) and its mask (B, K + B), for ``losses.info_nce``.
    """
    own = torch.eye(len(temporal), dtype=torch.bool, device=temporal.device)
    own = own & has_temporal.unsqueeze(1)
    return torch.cat([keys.to(temporal.dtype), temporal]), torch.cat([mask, ~own], dim=1)


def intervals(
    rng: np.random.Generator, num_frames: int, span: int, gap: int, least_gap: int
) -> tuple[int, int, bool]:
    """Starts of two intervals of ``span`` frames of a video, at least ``gap`` frames apart.

    All pairs are equally likely, in either order. Where the video is too short, the gap shrinks
    as far as needed, to ``least_gap`` at most (below 0 the intervals share frames).

    Returns:
        Both starts, and whether the intervals are that far apart; else they are independent.
    """
    distance = min(span + gap, num_frames - span)  # from start to start
    if distance < span + least_gap:
        first, second = (sampling.random_start(rng, num_frames, span) for _ in range(2))
        return first, second, False
    slack = num_frames - span - distance
    early, late = sorted(rng.choice(slack + 2, 2, replace=False).tolist())
    late += distance - 1
    return (early, late, True) if rng.random() < 0.5 else (late, early, True)


class Drawn(NamedTuple):
    """The labels of a batch, (B,) each: blends, and whether the negative is of another interval."""

    anchor_share: Tensor
    anchor_frame: Tensor
    positive_share: Tensor
    positive_frame: Tensor
    apart: Tensor  # 1 where it is, else 0: the negative does not count


class VTDL(TwoIntervals, Method):
    """The method; its clips are anchor and positive (one interval) and negative (another)."""

    def __init__(
        self, params: schema.VTDL, tca: schema.TCA, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(encoder)
        self.params, self.tca, self.clip = params, tca, clip
        self.span = sampling.span(clip.frames, clip.stride)
        if params.least_gap <= -self.span:
            raise UserError(
                f"methods.vtdl.least_gap = {params.least_gap}: a clip spans {self.span} frames, so "
                f"both intervals could be the same; allowed: > {-self.span}"
            )
        self.head = nn.Linear(self.num_features, params.dim)
        self.key_encoder = MomentumEncoder(encoder, self.head)
        self.queue = Queue(params.queue, params.dim)

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """Anchor, positive and negative, each under its own draw; their labels are ``Drawn``."""
        here, there, apart = intervals(
            rng, num_frames, self.span, self.params.gap, self.params.least_gap
        )
        return [
            self._request(num_frames, here, 0, self._blend(rng, "anchor")),
            self._request(num_frames, here, 1, self._blend(rng, "positive")),
            self._request(num_frames, there, 2, (float(apart),)),
        ]

    def _request(
        self, num_frames: int, start: int, draw_id: int, labels: tuple[float, ...]
    ) -> ClipRequest:
        frames = sampling.window(num_frames, start, self.clip.frames, self.clip.stride)
        return ClipRequest(frames, draw_id, labels=labels)

    def _blend(self, rng: np.random.Generator, role: str) -> tuple[float, float]:
        """Share and frame of one clip's blend; nothing is blended into the other role."""
        share, frame = self.tca.alpha * rng.random(), rng.integers(self.clip.frames)
        applies = self.tca.apply_to in (role, "both")
        return (float(share) if applies else 0.0, float(frame))

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The clips by their parts, with what is blended into them."""
        names = ("anchor", "positive", "negative")
        return dict(zip(names, self._blended(clips, Drawn(*labels.unbind(dim=1))), strict=True))

    def _blended(self, clips: list[Tensor], drawn: Drawn) -> tuple[Tensor, Tensor, Tensor]:
        anchor, positive, negative = clips
        if self.tca.apply_to != "positive":
            anchor = static_blend(anchor, drawn.anchor_share, drawn.anchor_frame)
        if self.tca.apply_to != "anchor":
            positive = static_blend(positive, drawn.positive_share, drawn.positive_frame)
        return anchor, positive, negative

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; ``labels`` is (B, 5), see ``Drawn``."""
        assert labels is not None
        drawn = Drawn(*labels.unbind(dim=1))
        anchor, positive, negative = self._blended(clips, drawn)
        has_temporal = drawn.apart > 0
        query = losses.normalize(self.head(self.encoder(anchor)))  # (B, D)
        key = losses.normalize(self.key_encoder(positive))
        with torch.no_grad() if self.params.detach_negative else nullcontext():
            temporal = losses.normalize(self.head(self.encoder(negative)))

        negatives, mask = triplet_negatives(
            temporal, has_temporal, self.queue.keys, self.queue.mask(video)
        )
        loss = losses.info_nce(query, key.unsqueeze(1), negatives, self.params.temperature, mask)
        query, negatives, temporal = query.detach(), negatives.detach(), temporal.detach()
        near, far = losses.cosine(query, key), losses.cosine(query, temporal)  # (B,)
        accuracy = losses.instance_accuracy(query, key.unsqueeze(1), negatives, mask)
        self.queue.enqueue(key, video)
        return {
            "loss": loss,
            "positive_similarity": near.mean(),
            "instance_accuracy": accuracy,
            # as there: a query without a negative counts as right
            "temporal_accuracy": ((near > far) | ~has_temporal).float().mean(),
            "temporal_negatives": has_temporal.float().mean(),
        }

    def after_step(self, progress: float) -> None:
        """Move the key encoder towards the online network."""
        self.key_encoder.update(self.encoder, self.head, self.params.momentum)


def build(params: schema.VTDL, tca: schema.TCA, clip: schema.Clip, encoder: nn.Module) -> VTDL:
    """VTDL around ``encoder``; ``tca`` says what is blended into the clips."""
    return VTDL(params, tca, clip, encoder)
