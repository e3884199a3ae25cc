"""RSPNet: relative speed perception and appearance-focused instance discrimination.

Source: Chen et al., "RSPNet: Relative Speed Perception for Unsupervised Video Representation
Learning", AAAI 2021. One backbone, two linear projections. Motion: two clips of a video at the same
speed are closer than two at different speeds. Appearance: clips of a video are closer than clips of
other videos, whatever their speed.

Where this differs from the released code: clips keep their length for any set of speeds; speeds
are drawn per video, not per batch; the margin is in units of the cosine (their 2.0 on logits at
temperature 0.07 is 0.14 here, and their motion weight of 1 is 1/0.07 here); a video's own queue
entries never serve as negatives, and the queue starts empty, unless ``as_released``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.methods import losses
from videossl.methods.base import Method, MomentumEncoder, Queue
from videossl.needs import FastestClip
from videossl.study import schema


class SpeedHeads(nn.Module):
    """Two independent linear projections of one feature, normalised."""

    def __init__(self, num_features: int, dim: int) -> None:
        super().__init__()
        self.motion = nn.Linear(num_features, dim)
        self.appearance = nn.Linear(num_features, dim)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C) -> (2, B, dim): motion, appearance."""
        both = torch.stack([self.motion(features), self.appearance(features)])
        return losses.normalize(both)


class RSPNet(FastestClip, Method):
    """The method; its clips are query, k+ (the query's speed) and k- (another speed)."""

    def __init__(
        self, params: schema.RSPNet, margin: float, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(encoder)
        self.params, self.margin, self.clip = params, margin, clip
        self.span = self.reach(params, margin, clip).frames
        self.heads = SpeedHeads(self.num_features, params.dim)
        self.key_encoder = MomentumEncoder(encoder, self.heads)
        self.queue = Queue(params.queue, params.dim)
        if params.as_released:
            self.queue.keys.copy_(losses.normalize(torch.randn_like(self.queue.keys)))

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """Query in one random window; k+ and k- from the start of another, augmented alike.

        Both windows are as long as the fastest clip needs, so that where a clip starts says nothing
        about its speed.
        """
        speeds = self.params.speeds
        same = int(rng.integers(len(speeds)))
        other = (same + int(rng.integers(1, len(speeds)))) % len(speeds)
        query = sampling.random_start(rng, num_frames, self.span)
        key = sampling.random_start(rng, num_frames, self.span)
        return [
            self._request(num_frames, query, speeds[same], draw_id=0),
            self._request(num_frames, key, speeds[same], draw_id=1),
            self._request(num_frames, key, speeds[other], draw_id=1),
        ]

    def _request(self, num_frames: int, start: int, speed: int, draw_id: int) -> ClipRequest:
        stride = self.clip.stride * speed
        return ClipRequest(sampling.window(num_frames, start, self.clip.frames, stride), draw_id)

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The clips by their parts."""
        return dict(zip(("query", "key, same speed", "key, other speed"), clips, strict=True))

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; ``clips`` are query, k+ and k-."""
        query, same, other = clips
        motion, appearance = self.heads(self.encoder(query)).unbind()  # each (B, D)
        same_motion, same_appearance = self.key_encoder(same).unbind()
        other_motion, other_appearance = self.key_encoder(other).unbind()

        faithful = losses.cosine(motion, same_motion)  # (B,)
        changed = losses.cosine(motion, other_motion)
        speed_loss = losses.ranking(faithful, changed, self.margin)

        negatives = self.queue.keys
        mask = None if self.params.as_released else self.queue.mask(video)
        temperature = self.params.temperature
        instance_loss = torch.zeros_like(speed_loss)
        for key in (same_appearance, other_appearance):  # both speeds are positives, two terms
            instance_loss = instance_loss + losses.info_nce(
                appearance, key.unsqueeze(1), negatives, temperature, mask
            )
        loss = self.params.appearance_weight * instance_loss
        loss = loss + self.params.motion_weight * speed_loss
        metrics = {
            "appearance_loss": instance_loss,
            "motion_loss": speed_loss,
            "speed_accuracy": (faithful > changed).float().mean(),
            "positive_similarity": faithful.mean(),
            "instance_accuracy": losses.instance_accuracy(
                appearance.detach(), same_appearance.unsqueeze(1), negatives, mask
            ),
        }
        self.queue.enqueue(other_appearance, video)
        return {"loss": loss, **{name: value.detach() for name, value in metrics.items()}}

    def after_step(self, progress: float) -> None:
        """Move the key encoder towards the online networks."""
        self.key_encoder.update(self.encoder, self.heads, self.params.momentum)


def build(params: schema.RSPNet, margin: float, clip: schema.Clip, encoder: nn.Module) -> RSPNet:
    """RSPNet around ``encoder``; ``margin`` is the wanted gap between cosines."""
    return RSPNet(params, margin, clip, encoder)
