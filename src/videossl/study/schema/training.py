"""Blocks of ``params.yaml`` about training: backbones, optimizer, augmentation, budgets."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videossl.study.schema.blocks import Block, Count, Fraction, NonNegative, Pair, Positive
from videossl.study.schema.data import Clip

Precision = Literal["float32", "bfloat16"]


class Network(Block):
    """What every backbone has: the mean and deviation of the colours it is given, by channel.

    Clips are scaled to 0 .. 1, less ``mean``, over ``std``.
    """

    mean: Annotated[list[Fraction], Field(min_length=3, max_length=3)]
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)]


class Model(Network):
    """A 3D-ResNet family member."""

    name: Literal["r3d", "mc3", "r2plus1d", "r3d_rspnet", "r2plus1d_rspnet"]
    blocks: Annotated[list[Count], Field(min_length=4, max_length=4)]
    width: Annotated[int, Field(ge=4, le=256)]


class C3D(Network):
    """C3D with batch norm."""

    name: Literal["c3d"]
    width: Annotated[int, Field(ge=4, le=256)]


class Inception(Network):
    """Inception-v1 in 3D: I3D, or separable in space and time, as S3D and S3D-G are."""

    name: Literal["i3d", "s3d", "s3dg", "s3dg_rspnet"]
    width: Annotated[int, Field(ge=8, le=256, multiple_of=8)]


class Slow(Network):
    """The Slow pathway of SlowFast: a 2D residual network with time in its last two stages."""

    name: Literal["slow"]
    depth: Literal[18, 50, 101]
    width: Annotated[int, Field(ge=4, le=256)]
    dilated: bool = False  # may be absent: networks that are stored have no such key


class Inflated(Network):
    """A 2D network of timm, inflated to 3D."""

    name: Literal["inflated"]
    timm: Annotated[str, Field(min_length=1)]
    weights: Annotated[str, Field(min_length=1)]
    output_stride: Literal[8, 16, 32]


Backbone = Annotated[Model | C3D | Inception | Slow | Inflated, Field(discriminator="name")]


Milestone = Annotated[float, Field(gt=0, lt=1)]


class Optimizer(Block):
    """Optimiser, its peak learning rate, and how the rate changes."""

    name: Literal["sgd", "adamw", "lars", "lamb"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: NonNegative
    decay_norms: bool
    clip_norm: NonNegative
    lr_base_size: Literal["none"] | Count
    warmup_epochs: Annotated[int, Field(ge=0)]
    schedule: Literal["cosine", "cosine_from_start", "steps", "constant"]
    milestones: list[Milestone]
    factor: Annotated[float, Field(gt=0, le=1)]
    lowest: Fraction

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nesterov and self.name not in ("sgd", "lars"):
            raise ValueError(f"nesterov = true: {self.name} has none; allowed with sgd and lars")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true: momentum is 0; it must be above 0")
        if any(a >= b for a, b in pairwise(self.milestones)):
            raise ValueError(f"milestones = {self.milestones}: must increase")
        if self.schedule == "steps" and not self.milestones:
            raise ValueError("schedule = 'steps': milestones is empty; name at least one")
        return self


class Jitter(Block):
    """Colour jitter: probability and the half-width of each factor's range."""

    probability: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Blur(Block):
    """Gaussian blur: probability and the range of sigma in pixels of the clip."""

    probability: Fraction
    sigma: Pair


class Augment(Block):
    """Clip-consistent augmentation: one draw per clip, the same for all its frames."""

    crop_area: Pair
    crop_aspect: Pair
    flip: Fraction
    gray: Fraction
    jitter: Jitter
    blur: Blur

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for key, (low, high) in (("crop_area", self.crop_area), ("crop_aspect", self.crop_aspect)):
            if low > high:
                raise ValueError(f"{key} = {[low, high]}: must be [low, high] with low <= high")
        if self.crop_area[1] > 1:
            raise ValueError(f"crop_area = {self.crop_area}: a share of the frame, at most 1")
        if self.blur.sigma[0] > self.blur.sigma[1]:
            raise ValueError(f"blur.sigma = {self.blur.sigma}: must be [low, high], low <= high")
        return self


class Pretrain(Block):
    """A budget of pretraining: the clip, how long, how many at a time, on what."""

    clip: Clip
    split: Count
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    accumulate: Count
    gpus: Count  # of a node
    nodes: Count = 1  # may be absent
    precision: Precision
    compile: bool
    monitor_epochs: Annotated[int, Field(ge=0)]
    augment: Augment

    @model_validator(mode="after")
    def _shares(self) -> Self:
        parts = self.gpus * self.nodes * self.accumulate
        if self.batch_size % parts:
            names = "gpus x accumulate" if self.nodes == 1 else "gpus x nodes x accumulate"
            raise ValueError(
                f"batch_size = {self.batch_size}: must be a multiple of {names} = {parts}"
            )
        return self
