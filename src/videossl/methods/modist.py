"""MoDist: a visual network learns what a motion network sees in the same video.

Source: Xiao et al., "MoDist: Motion Distillation for Self-supervised Video Representation
Learning", 2021 (arXiv 2106.09703; as MaCLR in ECCV 2022), section 3. Momentum contrast within
frames, within the edges of optical flow, and across the two. Only the visual network is kept.

Where this differs from the paper: it draws motion clips until one moves enough; here a row whose
motion clip does not is left out of the losses that read it, because clips are drawn before their
pixels are known. The released code holds no pretraining.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.methods import losses
from videossl.methods.base import Method, MomentumEncoder, Queue
from videossl.models.heads import MLP
from videossl.models.slow import FRAMEWISE, Slow
from videossl.needs import EdgesClip
from videossl.study import schema


def contrast(
    query: Tensor, key: Tensor, bank: Tensor, mask: Tensor, temperature: float, kept: Tensor
) -> Tensor:
    """InfoNCE with one positive, averaged over the rows that are kept (IN in the paper's eq. 1).

    Args:
        query: (B, D).
        key: (B, D), each query's positive.
        bank: (K, D) negatives.
        mask: (B, K), True where an entry does not count for a query.
        temperature: the cosines are divided by it.
        kept: (B,) bool.

    Returns:
        A scalar whose mean over ranks is the mean over all ranks' kept rows; 0 if there is none.
    """
    each = losses.info_nce_rows(query, key.unsqueeze(1), bank, temperature, mask)
    return losses.counted_mean(each, kept)


class MoDist(EdgesClip, Method):
    """The method; its clips are query and key of frames, then query and key of flow edges.

    The published motion pathway has 50 layers, an eighth of the visual one's channels and 16
    frames at stride 4; its stem, 1x7x7, strides time by 2 and so never sees every other frame.
    Here nothing strides time, and the clip holds the frames that are seen.

    Every clip is its own random window of the video under its own crop: nothing synchronises the
    two kinds. Without the losses that read motion there is no motion pathway, and what is left is
    momentum contrast on the two visual clips.
    """

    def __init__(
        self,
        params: schema.MoDist,
        task: schema.Distillation,
        clip: schema.Clip,
        encoder: torch.nn.Module,
    ) -> None:
        super().__init__(encoder)
        self.params, self.task, self.clip = params, task, clip
        self.span = self.reach(params, task, clip).frames
        self.head = MLP([self.num_features, params.hidden, params.dim], batch_norm=False)
        self.key_encoder = MomentumEncoder(encoder, self.head)
        self.queue = Queue(params.queue, params.dim)
        self.two = task.motion_weight > 0 or task.cross_weight > 0
        if self.two:
            self.motion = Slow(params.motion_depth, params.motion_width, 1, FRAMEWISE)
            self.motion_head = MLP(
                [self.motion.num_features, params.hidden, params.dim], batch_norm=False
            )
            self.motion_key_encoder = MomentumEncoder(self.motion, self.motion_head)
            self.motion_queue = Queue(params.queue, params.dim)

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """Two windows of frames and, where there is a motion pathway, two of motion."""
        kinds: list[sampling.Kind] = ["augmented", "augmented"]
        if self.two:
            kinds += ["motion", "motion"]
        length, stride = self.clip.frames, self.clip.stride
        starts = [sampling.random_start(rng, num_frames, self.span) for _ in kinds]
        return [
            ClipRequest(sampling.window(num_frames, start, length, stride), draw_id, kind)
            for draw_id, (start, kind) in enumerate(zip(starts, kinds, strict=True))
        ]

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Frames and, where there is a motion pathway, edges of flow."""
        names = ["query", "key", "motion query", "motion key"]
        return dict(zip(names[: len(clips)], clips, strict=True))

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; motion is (B, 1, T, S, S), 0 to 1."""
        query = losses.normalize(self.head(self.encoder(clips[0])))
        key = losses.normalize(self.key_encoder(clips[1]))
        mask = self.queue.mask(video)
        every = torch.ones_like(video, dtype=torch.bool)
        visual = self._contrast(query, key, self.queue, mask, every)
        out = {"loss": self.task.visual_weight * visual, "visual_loss": visual}
        if self.two:
            out |= self._distil(query, key, mask, clips[2:], video)
            out["loss"] = out["loss"] + self.task.motion_weight * out["motion_loss"]
            out["loss"] = out["loss"] + self.task.cross_weight * out["cross_loss"]
        out["positive_similarity"] = losses.cosine(query, key).mean()
        out["instance_accuracy"] = losses.instance_accuracy(
            query.detach(), key.unsqueeze(1), self.queue.keys, mask
        )
        self.queue.enqueue(key, video)
        return {name: x if name == "loss" else x.detach() for name, x in out.items()}

    def _distil(
        self, query: Tensor, key: Tensor, mask: Tensor, clips: list[Tensor], video: Tensor
    ) -> dict[str, Tensor]:
        """The losses that read motion, and how well they do; its keys enter their bank."""
        motion_query = losses.normalize(self.motion_head(self.motion(clips[0])))
        motion_key = losses.normalize(self.motion_key_encoder(clips[1]))
        moving = torch.stack([clip.flatten(1).mean(dim=1) for clip in clips])
        moving = moving > self.task.threshold  # (2, B)
        kept = moving.all(dim=0)
        own, other = self.motion_queue, self.queue
        own_mask = own.mask(video)
        motion = self._contrast(motion_query, motion_key, own, own_mask, kept)
        of_visual, of_motion = (other, mask), (own, own_mask)
        if self.task.cross_negatives == "key":
            of_visual, of_motion = of_motion, of_visual
        cross = self._contrast(query, motion_key, *of_visual, kept)
        cross = cross + self._contrast(motion_query, key, *of_motion, kept)
        found = {
            "motion_loss": motion,
            "cross_loss": cross,
            "motion_similarity": losses.counted_mean(losses.cosine(motion_query, motion_key), kept),
            "cross_similarity": losses.counted_mean(losses.cosine(query, motion_key), kept),
            "moving": kept.float().mean(),
        }
        # keys of nearly still clips are stored with video -1, so the mask excludes them
        own.enqueue(motion_key, torch.where(moving[1], video, -1))
        return found

    def _contrast(
        self, query: Tensor, key: Tensor, bank: Queue, mask: Tensor, kept: Tensor
    ) -> Tensor:
        return contrast(query, key, bank.keys, mask, self.params.temperature, kept)

    def after_step(self, progress: float) -> None:
        """Move the key encoders towards the online networks."""
        self.key_encoder.update(self.encoder, self.head, self.params.momentum)
        if self.two:
            self.motion_key_encoder.update(self.motion, self.motion_head, self.params.momentum)


def build(
    params: schema.MoDist, task: schema.Distillation, clip: schema.Clip, encoder: torch.nn.Module
) -> MoDist:
    """MoDist around ``encoder``, the visual pathway."""
    return MoDist(params, task, clip, encoder)
