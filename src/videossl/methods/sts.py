"""STS: the statistics of motion and appearance as a pretext task.

Source: Wang et al., "Self-supervised Video Representation Learning by Uncovering Spatio-temporal
Statistics", TPAMI 2021; and its forerunner, "Self-supervised Spatio-temporal Representation
Learning for Videos by Predicting Motion and Appearance Statistics", CVPR 2019. From a clip's frames
the network tells 27 statistics of its flow and its colours (see ``sts_labels.py``).

Where this differs from the released code: a flip negates u; T - 1 flows for T frames; what has no
motion, or no block that stands out, is ignored instead of labelled; classification and the
curriculum, which the code lacks.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videossl import distributed
from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.methods import losses
from videossl.methods.base import Method
from videossl.methods.sts_labels import IGNORED, MOTION, Labels, Patterns, classes, label
from videossl.needs import FlowClip
from videossl.study import schema


class StatisticsHead(nn.Module):
    """One linear layer per label: classification has a logit per class, regression a scalar.

    Attributes:
        place: (27, K) int64, which outputs are the logits of a label; K is the most classes.
        absent: (27, K), True where a label has fewer classes.
    """

    place: Tensor
    absent: Tensor

    def __init__(self, num_features: int, counts: list[int], target: str) -> None:
        super().__init__()
        self.classify = target == "classification"
        self.linear = nn.Linear(num_features, sum(counts) if self.classify else len(counts))
        count = torch.tensor(counts)[:, None]
        column = torch.arange(max(counts))[None, :]
        place = (count.cumsum(0) - count + column).clamp(max=sum(counts) - 1)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("absent", column >= count, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C) -> logits (B, 27, K) or values (B, 27), in float32 or wider."""
        out: Tensor = self.linear(features)
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        if not self.classify:
            return out
        # finite, unlike -inf, so that nothing becomes nan
        return out[:, self.place].masked_fill(self.absent, torch.finfo(out.dtype).min)


class STS(FlowClip, Method):
    """The method; its clips are the frames, their plain colours and the flow between them.

    Attributes:
        progress: () float32, the share of training done, for the curriculum.
    """

    progress: Tensor

    def __init__(
        self, params: schema.STS, task: schema.Statistics, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(encoder)
        self.params, self.task, self.clip = params, task, clip
        self.span = self.reach(params, task, clip).frames
        self.patterns = Patterns(clip.size)
        self.head = StatisticsHead(self.num_features, classes(clip.frames - 1), task.target)
        self.register_buffer("progress", torch.zeros(()))

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """One random window: as the network sees it, plain, and its flow.

        Flow at a frame is that from the frame before. Where a short video starts again the two are
        not neighbours: the label is 1 for each flow that the clip shows, and 0 there.
        """
        start = sampling.random_start(rng, num_frames, self.span)
        frames = sampling.window(num_frames, start, self.clip.frames, self.clip.stride)
        shown = tuple(float(gap == self.clip.stride) for gap in np.diff(frames))
        return [
            ClipRequest(frames, 0),
            ClipRequest(frames, 0, "plain"),
            ClipRequest(frames[1:], 0, "motion", shown),
        ]

    def prepare(self, clips: list[Tensor], labels: Tensor) -> list[Tensor]:
        """The clip and its labels; ``labels`` (B, T - 1) says which flows count."""
        clip, plain, flow = clips
        found = label(flow, labels, plain, self.patterns, self.task.levels, self.task.still)
        return [clip, *found]

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The clip, and the flow that its labels are of."""
        clip, _, flow = clips
        return {"clip": clip, "flow, for labels": flow}

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``."""
        clip, found, task = clips[0], Labels(*clips[1:]), self.task
        counted = self._counted(found)
        out = self.head(self.encoder(clip))
        if self.head.classify:
            each = cross_entropies(out, found.values)
            told = out.detach().argmax(-1)
        else:
            each = squared_errors(out, found.values)
            told = out.detach().round().long() - 1
        right = (told == found.values).to(out.dtype)
        parts, metrics = {}, {}
        for name, part in (("motion", slice(0, MOTION)), ("appearance", slice(MOTION, None))):
            columns, rows = each[:, part], counted[:, part]
            if self.head.classify:
                parts[name] = losses.counted_mean(columns, rows).sum()
            else:
                parts[name] = losses.counted_mean(columns.reshape(-1, 1), rows.reshape(-1, 1)).sum()
            metrics[f"{name}_loss"] = parts[name].detach()
            accuracy = losses.counted_mean(right[:, part].reshape(-1, 1), rows.reshape(-1, 1))
            metrics[f"{name}_accuracy"] = accuracy.sum()
        loss = task.motion_weight * parts["motion"] + task.appearance_weight * parts["appearance"]
        return {"loss": loss, **metrics}

    def _counted(self, found: Labels) -> Tensor:
        """Which labels the loss counts, (B, 27): in the curriculum's first part the easier half."""
        valid = found.values != IGNORED
        if not self.task.curriculum:
            return valid
        ordered = distributed.gather(found.concentration).sort(descending=True).values
        easy = found.concentration >= ordered[(len(ordered) - 1) // 2]
        return valid & (easy | (self.progress >= self.task.curriculum))[:, None]

    def after_step(self, progress: float) -> None:
        """Move on in the curriculum."""
        self.progress.fill_(progress)


# ------------------------------------------------------------------------------------ losses


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, N, K), (B, N) -> (B, N); 0 where a label is ignored."""
    return F.cross_entropy(logits.movedim(-1, 1), labels, ignore_index=IGNORED, reduction="none")


def squared_errors(values: Tensor, labels: Tensor) -> Tensor:
    """(B, N), (B, N) -> (B, N); values are as published, from 1. Ignored labels have some value."""
    return (values - (labels + 1)).square()


def build(
    params: schema.STS, task: schema.Statistics, clip: schema.Clip, encoder: nn.Module
) -> STS:
    """STS around ``encoder``."""
    return STS(params, task, clip, encoder)
