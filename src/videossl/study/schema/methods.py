"""Blocks of ``params.yaml`` about pretext tasks and the methods that learn from them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from videossl.needs import (
    EdgesClip,
    FastestClip,
    FastestRate,
    FlowClip,
    OneClip,
    OrderedFrames,
    TwoIntervals,
)
from videossl.study.schema.blocks import (
    Block,
    Count,
    Fraction,
    Momentum,
    Name,
    NonNegative,
    Pair,
    Positive,
)

NO_MOTION = "none"  # what a method says that needs no entry of ``motion``
NoMotion = Literal["none"]


Margin = Annotated[float, Field(ge=0, le=2)]  # of RSPNet: least gap between cosines
Rho = Annotated[int, Field(ge=1, le=16)]  # of the ρ methods: clips of a video


class MethodBlock(Block):
    """What every row has: the method's code, and the names of the entries that it reads."""

    reads: ClassVar[Any]  # the type of the entry of ``task``
    needs: ClassVar[type[OneClip]] = OneClip  # of a video; the method's class is of this kind too

    method: str
    task: Name
    data: Name
    motion: str
    backbone: Name
    optimizer: Name
    pretrain: Name
    bn_group: Literal["all"] | Annotated[int, Field(ge=2)]


class TCA(Block):
    """Temporal consistent augmentation: a static frame of a clip blended into all of it."""

    alpha: Fraction
    apply_to: Literal["anchor", "positive", "both"]


class Hierarchy(Block):
    """HDC: the weights of spatial and temporal contrast at each level, shallow to deep."""

    weights: Literal["fixed", "invariance"]
    spatial: Annotated[list[NonNegative], Field(min_length=1, max_length=5)]
    temporal: Annotated[list[NonNegative], Field(min_length=1, max_length=5)]

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if len(self.spatial) != len(self.temporal):
            raise ValueError(
                f"spatial = {self.spatial} and temporal = {self.temporal}: must be of equal "
                "length, a weight for each level"
            )
        if not sum(self.spatial) + sum(self.temporal) > 0:
            raise ValueError(
                f"spatial = {self.spatial} and temporal = {self.temporal}: must hold a weight > 0"
            )
        return self


class Statistics(Block):
    """What STS asks for."""

    target: Literal["classification", "regression"]
    motion_weight: NonNegative
    appearance_weight: NonNegative
    levels: Annotated[int, Field(ge=2, le=256)]
    still: NonNegative
    curriculum: Fraction


class Order(Block):
    """What order and geometry are predicted: a clip's frames, and the limits of an affine map."""

    frames: Annotated[int, Field(ge=3, le=6)]
    stride: Count
    reference: Literal["none", "original"]
    rotation: Annotated[float, Field(gt=0, le=180)]
    scale: Pair
    shear: Annotated[float, Field(gt=0, le=60)]
    translation: Annotated[float, Field(gt=0, le=0.5)]

    @model_validator(mode="after")
    def _scale(self) -> Self:
        if not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale = {self.scale}: must be [low, high] with low < high")
        return self


class Sampling(Block):
    """How clips are sampled in width, height and time, to be told by V3S."""

    ratios: Annotated[list[Annotated[float, Field(ge=0.125, le=8)]], Field(min_length=1)]
    sides: Annotated[list[Literal["none", "left", "right", "up", "down"]], Field(min_length=1)]
    shortening: Pair
    rates: Annotated[list[Count], Field(min_length=1)]
    exponents: Annotated[list[Positive], Field(min_length=1)]
    heads: Literal["separate", "joint"]

    @model_validator(mode="after")
    def _classes(self) -> Self:
        for key in ("ratios", "sides", "rates", "exponents"):
            classes = getattr(self, key)
            if len(set(classes)) != len(classes):
                raise ValueError(f"{key} = {classes}: must differ from one another")
        return self

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.shortening[0] <= self.shortening[1] <= 1:
            raise ValueError(
                f"shortening = {self.shortening}: must be [low, high] with low <= high <= 1"
            )
        return self


class Distillation(Block):
    """MoDist's task: what the visual and the motion pathway learn from each other."""

    cross_negatives: Literal["query", "key"]
    visual_weight: NonNegative
    motion_weight: NonNegative
    cross_weight: NonNegative
    threshold: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _weights(self) -> Self:
        if self.visual_weight == 0 and self.cross_weight == 0:
            raise ValueError(
                "visual_weight = 0 and cross_weight = 0: one must be positive, "
                "or nothing teaches the encoder"
            )
        return self


class RSPNet(MethodBlock):
    """RSPNet (Chen et al., AAAI 2021)."""

    reads: ClassVar[Any] = Margin
    needs: ClassVar[type[OneClip]] = FastestClip

    method: Literal["rspnet"]
    motion: NoMotion
    speeds: Annotated[list[Count], Field(min_length=2)]
    dim: Count
    temperature: Positive
    queue: Count
    momentum: Momentum
    appearance_weight: NonNegative
    motion_weight: NonNegative
    as_released: bool

    @model_validator(mode="after")
    def _speeds(self) -> Self:
        if len(set(self.speeds)) != len(self.speeds):
            raise ValueError(f"speeds = {self.speeds}: must differ from one another")
        return self


class VTDL(MethodBlock):
    """VTDL (Wang et al., arXiv 2008.02129)."""

    reads: ClassVar[Any] = TCA
    needs: ClassVar[type[OneClip]] = TwoIntervals

    method: Literal["vtdl"]
    motion: NoMotion
    gap: Annotated[int, Field(ge=0)]
    least_gap: int
    detach_negative: bool
    dim: Count
    temperature: Positive
    queue: Count
    momentum: Momentum

    @model_validator(mode="after")
    def _gaps(self) -> Self:
        if self.least_gap > self.gap:
            raise ValueError(f"least_gap = {self.least_gap}: allowed: <= gap, {self.gap}")
        return self


class RhoBlock(MethodBlock):
    """What the four ρ methods (Feichtenhofer et al., CVPR 2021) share."""

    reads: ClassVar[Any] = Rho

    motion: NoMotion
    dim: Count
    mode: Literal["sequential", "parallel"]


class RhoMoCo(RhoBlock):
    """ρMoCo (Feichtenhofer et al., CVPR 2021)."""

    method: Literal["rho_moco"]
    hidden: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    temperature: Positive
    queue: Count
    momentum: Momentum
    momentum_schedule: Literal["cosine", "constant"]
    positives: Literal["sum_in_log", "mean_of_losses"]


class RhoBYOL(RhoBlock):
    """ρBYOL (Feichtenhofer et al., CVPR 2021)."""

    method: Literal["rho_byol"]
    projector_hidden: Count
    projector_layers: Annotated[int, Field(ge=1, le=8)]
    predictor_hidden: Count
    predictor_layers: Annotated[int, Field(ge=1, le=8)]
    batch_norm: bool
    momentum: Momentum
    momentum_schedule: Literal["cosine", "constant"]


class RhoSimCLR(RhoBlock):
    """ρSimCLR (Feichtenhofer et al., CVPR 2021)."""

    method: Literal["rho_simclr"]
    hidden: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    batch_norm: bool
    temperature: Positive


class RhoSwAV(RhoBlock):
    """ρSwAV (Feichtenhofer et al., CVPR 2021; SwAV is Caron et al., NeurIPS 2020)."""

    method: Literal["rho_swav"]
    hidden: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    batch_norm: bool
    prototypes: Annotated[int, Field(ge=2)]
    frozen_prototypes: Fraction
    temperature: Positive
    epsilon: Positive
    sinkhorn_iterations: Count
    code_queue: Annotated[int, Field(ge=0)]


class HDC(MethodBlock):
    """HDC (Zhang and Crandall, WACV 2022)."""

    reads: ClassVar[Any] = Hierarchy

    method: Literal["hdc"]
    motion: NoMotion
    dim: Count
    hidden: Count
    temperature: Positive


class STS(MethodBlock):
    """STS (Wang et al., TPAMI 2021)."""

    reads: ClassVar[Any] = Statistics
    needs: ClassVar[type[OneClip]] = FlowClip

    method: Literal["sts"]
    motion: Name


class OrderGeometry(MethodBlock):
    """Order and geometry prediction (Jiao et al., ISBI 2020)."""

    reads: ClassVar[Any] = Order
    needs: ClassVar[type[OneClip]] = OrderedFrames

    method: Literal["order_geometry"]
    motion: NoMotion
    variant: Literal["siamese", "disentangled"]
    shared: Annotated[int, Field(ge=0, le=4)]
    kept: Literal["order", "transform"]
    hidden: Count
    transform_weight: NonNegative


class V3S(MethodBlock):
    """V3S (Li et al., arXiv 2107.03578)."""

    reads: ClassVar[Any] = Sampling
    needs: ClassVar[type[OneClip]] = FastestRate

    method: Literal["v3s"]
    motion: NoMotion
    clips: Annotated[int, Field(ge=1, le=16)]
    frame_jitter: Fraction
    scale_weight: NonNegative
    projection_weight: NonNegative
    rate_weight: NonNegative
    acceleration_weight: NonNegative


class MoDist(MethodBlock):
    """MoDist (Xiao et al., 2021)."""

    reads: ClassVar[Any] = Distillation
    needs: ClassVar[type[OneClip]] = EdgesClip

    method: Literal["modist"]
    motion_depth: Literal[18, 50, 101]
    motion_width: Count
    dim: Count
    hidden: Count
    temperature: Positive
    queue: Count
    momentum: Momentum

    @model_validator(mode="after")
    def _motion(self) -> Self:
        if self.motion == NO_MOTION:
            raise ValueError(f"motion = {NO_MOTION!r}: must be an entry of motion with edges")
        return self


ROWS = (RSPNet, VTDL, RhoMoCo, RhoBYOL, RhoSimCLR, RhoSwAV, HDC, STS, OrderGeometry, V3S, MoDist)
Row = Annotated[
    RSPNet
    | VTDL
    | RhoMoCo
    | RhoBYOL
    | RhoSimCLR
    | RhoSwAV
    | HDC
    | STS
    | OrderGeometry
    | V3S
    | MoDist,
    Field(discriminator="method"),
]
