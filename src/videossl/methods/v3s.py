"""V3S: tell how a clip was sampled from its video in width, height and time.

Source: Li et al., "Video 3D Sampling for Self-supervised Representation Learning", arXiv
2107.03578. Its abstract was all we could read: scale and projection transformations in space and in
time are recognised. Which ones, and how, is our interpretation and a parameter:

- scale in space: the sampled region's width : height, whatever shape it is shown in;
- projection in space: one side of the region is shorter, as if that side were nearer;
- scale in time: the playback rate;
- projection in time: a rate that grows or falls along the clip.

Space acts on the device, on augmented clips, as one homography per clip; time is the choice of
frames. The region lies inside the clip, so no border shows, and its area and mean proportions are
the same for every projection, so neither gives the class away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videossl.data.loading import sampling
from videossl.data.loading.augment import Colours
from videossl.data.loading.sampling import ClipRequest, Indices
from videossl.methods import losses
from videossl.methods.base import Method
from videossl.models.backbone import Backbone
from videossl.models.warp import sample
from videossl.needs import FastestRate
from videossl.study import schema

SIDES = {"none": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
TRANSFORMS = ("scale", "projection", "rate", "acceleration")
WARP = 3  # numbers of a spatial transform: width : height, lean in x, lean in y
# columns of a clip's labels: classes of TRANSFORMS, the spatial transform, factors of each frame
CLASSES = slice(0, len(TRANSFORMS))
SPACE = slice(len(TRANSFORMS), len(TRANSFORMS) + WARP)
FLICKER = slice(len(TRANSFORMS) + WARP, None)


# ------------------------------------------------------------------------------- time


def path(length: int, rate: int, exponent: float) -> Indices:
    """Frames of a clip from its start, first 0 and last (length - 1) * rate, none twice.

    Frame i is at ``reach * (i / (length - 1)) ** exponent``, rounded: playback speeds up for
    exponents above 1 and slows down below. Where rounding would show a frame twice, which
    only a projected clip could, it moves to the nearest frame that is free.
    """
    reach, place = (length - 1) * rate, np.arange(length)
    curve = np.rint(reach * (place / (length - 1)) ** exponent).astype(np.int64)
    apart = np.maximum.accumulate(curve - place) + place
    return np.asarray(np.minimum(apart, reach - place[::-1]), np.int64)


# ------------------------------------------------------------------------------- space
# Places in a clip run from -1 to 1 along x (to the right) and y (down), from border to border. A
# lean (p, 0) is the projection that makes the region's left and right sides 1 + p and 1 - p times
# its mean height; (0, p) likewise for its upper and lower sides.


def lean(shortening: float) -> float:
    """The lean that makes one side ``shortening`` times as long as the opposite one."""
    return (1 - shortening) / (1 + shortening)


def zoom(ratios: Sequence[float], steepest: float) -> float:
    """The share of a clip's side, as a geometric mean, that the region of every class has.

    The largest with which the widest, the highest and the steepest still lie inside the clip.
    """
    return 1 / (math.sqrt(max(max(r, 1 / r) for r in ratios)) * (1 + steepest))


def homographies(warps: Tensor, share: float) -> Tensor:
    """Maps from places in the result to places in the clip.

    Args:
        warps: (B, WARP) width : height, lean in x, lean in y; one lean at most is not 0.
        share: see ``zoom``.

    Returns:
        (B, 3, 3) on columns (x, y, 1).
    """
    ratio, px, py = warps.unbind(dim=1)
    width, height = share * ratio.sqrt(), share / ratio.sqrt()
    zero, one = torch.zeros_like(ratio), torch.ones_like(ratio)
    rows = [
        torch.stack([width * (1 - py.square()), zero, width * px], dim=1),
        torch.stack([zero, height * (1 - px.square()), height * py], dim=1),
        torch.stack([px, py, one], dim=1),
    ]
    return torch.stack(rows, dim=1)


def flicker(clips: Tensor, brightness: Tensor, contrast: Tensor, colours: Colours) -> Tensor:
    """Change each frame on its own: contrast about its mean, then brightness; clamped.

    Args:
        clips: (B, 3, T, S, S), normalised as ``augment`` does.
        brightness, contrast: (B, T) factors.
        colours: that they are normalised by.
    """
    shift, scale = colours.on(clips)
    level = clips * scale + shift
    mean = level.mean(dim=(1, 3, 4), keepdim=True)
    factors = (x.to(clips.dtype)[:, None, :, None, None] for x in (brightness, contrast))
    bright, strong = factors
    return ((((level - mean) * strong + mean) * bright).clamp(0, 1) - shift) / scale


# ------------------------------------------------------------------------------- recognition


def recognition(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy over the rows of all ranks that have a label (B,); others are -1.

    Returns:
        A scalar whose mean over ranks is that of one process with all rows.
    """
    each = F.cross_entropy(logits, label.clamp(min=0), reduction="none")
    return losses.counted_mean(each, label >= 0)


def product(labels: Tensor, counts: Sequence[int]) -> Tensor:
    """One label (B,) of several (B, N); an unknown one counts as the first class."""
    joint = torch.zeros_like(labels[:, 0])
    for label, count in zip(labels.clamp(min=0).unbind(dim=1), counts, strict=True):
        joint = joint * count + label
    return joint


def factors(joint: Tensor, counts: Sequence[int]) -> Tensor:
    """The labels (B, N) of which ``product`` made (B,)."""
    found = []
    for count in reversed(counts):
        found.append(joint % count)
        joint = joint // count
    return torch.stack(found[::-1], dim=1)


class V3S(FastestRate, Method):
    """The method; its clips are alike in role, each sampled in its own way."""

    def __init__(
        self, params: schema.V3S, task: schema.Sampling, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(encoder)
        self.params, self.task, self.clip = params, task, clip
        self.paths = [[path(clip.frames, r, e) for e in task.exponents] for r in task.rates]
        leaning = any(side != "none" for side in task.sides)
        self.zoom = zoom(task.ratios, lean(task.shortening[0]) if leaning else 0.0)
        self.counts = [len(x) for x in (task.ratios, task.sides, task.rates, task.exponents)]
        self.weights = [
            params.scale_weight,
            params.projection_weight,
            params.rate_weight,
            params.acceleration_weight,
        ]
        joint = task.heads == "joint"
        outputs = math.prod(self.counts) if joint else sum(self.counts)
        self.head = nn.Linear(self.num_features, outputs)  # of independent heads, side by side

    # --------------------------------------------------------------------------- host

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """``clips`` clips at independent times, each with its own transforms and augmentation."""
        return [self._request(rng, num_frames, draw_id) for draw_id in range(self.params.clips)]

    def _request(self, rng: np.random.Generator, num_frames: int, draw_id: int) -> ClipRequest:
        task = self.task
        spans = [sampling.span(self.clip.frames, rate) for rate in task.rates]
        fitting = [k for k, span in enumerate(spans) if span <= num_frames]
        fitting = fitting or [int(np.argmin(spans))]
        rate = int(rng.choice(fitting))
        ratio, side, exponent = (
            int(rng.integers(len(x))) for x in (task.ratios, task.sides, task.exponents)
        )
        # the window of the highest rate, whatever the clip's: where it starts says nothing of it
        start = sampling.random_start(rng, num_frames, max(spans[k] for k in fitting))
        frames = (start + self.paths[rate][exponent]) % num_frames
        told = len({tuple(p) for p in self.paths[rate]}) == len(task.exponents)
        low, high = task.shortening
        steep = lean(rng.uniform(low, high))
        x, y = SIDES[task.sides[side]]
        classes = (ratio, side, rate, exponent if told else -1)
        numbers = (task.ratios[ratio], x * steep, y * steep, *self._flicker(rng))
        return ClipRequest(frames, draw_id, labels=(*classes, *numbers))

    def _flicker(self, rng: np.random.Generator) -> list[float]:
        """A clip's factors of brightness, then of contrast, frame by frame; or none."""
        half = self.params.frame_jitter
        count = 2 * self.clip.frames if half else 0
        return [float(x) for x in rng.uniform(1 - half, 1 + half, count)]

    # --------------------------------------------------------------------------- device

    def prepare(self, clips: list[Tensor], labels: Tensor) -> list[Tensor]:
        """All clips as one batch, transformed."""
        per_clip = torch.cat(labels.chunk(len(clips), dim=1))  # rows in the order of cat(clips)
        return [self.transform(torch.cat(clips), per_clip)]

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The transformed clips."""
        (together,) = self.prepare(clips, labels)
        return super().shown(list(together.chunk(len(clips))), labels)

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``."""
        assert labels is not None  # every request carries its transforms
        count = len(clips[0]) // len(labels)  # clips of a video
        classes = torch.cat(labels.chunk(count, dim=1))[:, CLASSES].long()
        features = self.encoder(clips[0])
        with torch.autocast(features.device.type, enabled=False):
            logits = self.head(features.to(self.head.weight.dtype))
            loss, predicted = self.recognise(logits, classes)
        right = (predicted == classes).to(loss.dtype)
        metrics = {
            f"{name}_accuracy": accuracy
            for name, accuracy in zip(
                TRANSFORMS, losses.counted_mean(right, classes >= 0), strict=True
            )
        }
        return {"loss": loss, **metrics}

    def transform(self, clips: Tensor, labels: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) under what was drawn for them in space; labels (B, N) per clip."""
        out = sample(clips, homographies(labels[:, SPACE], self.zoom), centres=False)
        if not self.params.frame_jitter:
            return out
        brightness, contrast = labels[:, FLICKER].chunk(2, dim=1)
        return flicker(out, brightness, contrast, cast(Backbone, self.encoder).colours)

    def recognise(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the classes (B, N) that the logits say, of labels (B, N)."""
        if self.task.heads == "joint":
            loss = recognition(logits, product(labels, self.counts))
            return loss, factors(logits.argmax(dim=1), self.counts)
        heads = torch.split(logits, self.counts, dim=1)
        loss = logits.new_zeros(())
        for head, label, weight in zip(heads, labels.unbind(dim=1), self.weights, strict=True):
            loss = loss + weight * recognition(head, label)
        return loss, torch.stack([head.argmax(dim=1) for head in heads], dim=1)


def build(params: schema.V3S, task: schema.Sampling, clip: schema.Clip, encoder: nn.Module) -> V3S:
    """V3S around ``encoder``; ``task`` lists the transforms."""
    return V3S(params, task, clip, encoder)
