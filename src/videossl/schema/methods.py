"""Blocks of ``params.yaml`` about pretext tasks and the methods that learn from them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videossl.schema.blocks import Block, Count, Momentum, NonNegative, Pair, Positive
from videossl.schema.training import Optimizer

NO_MOTION = "none"  # what a method says that needs no entry of ``motion``
NoMotion = Literal["none"]


class MethodBlock(Block):
    """What every method's block has; ``task`` and ``motion`` name the entries that it reads."""

    task: str
    motion: str
    optimizer: Optimizer


class Order(Block):
    """What order and geometry are predicted: a clip's frames, and the limits of an affine map."""

    frames: Annotated[int, Field(ge=3, le=6)]
    stride: Count
    rotation: Annotated[float, Field(gt=0, le=180)]
    scale: Pair
    shear: Annotated[float, Field(gt=0, le=60)]
    translation: Annotated[float, Field(gt=0, le=0.5)]

    @model_validator(mode="after")
    def _scale(self) -> Self:
        if not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale = {self.scale}: must be [low, high] with low < high")
        return self


class Tasks(Block):
    """What each pretext task is; a method names the entry it reads."""

    margin: Annotated[float, Field(ge=0, le=2)]
    rho: Annotated[int, Field(ge=1, le=16)]
    order: Order


class RSPNet(MethodBlock):
    """RSPNet (Chen et al., AAAI 2021)."""

    task: Literal["margin"]
    motion: NoMotion
    speeds: Annotated[list[Count], Field(min_length=2)]
    dim: Count
    temperature: Positive
    queue: Count
    momentum: Momentum
    appearance_weight: NonNegative
    motion_weight: NonNegative

    @model_validator(mode="after")
    def _speeds(self) -> Self:
        if len(set(self.speeds)) != len(self.speeds):
            raise ValueError(f"speeds = {self.speeds}: must differ from one another")
        return self


class RhoMoCo(MethodBlock):
    """ρMoCo (Feichtenhofer et al., CVPR 2021)."""

    task: Literal["rho"]
    motion: NoMotion
    dim: Count
    hidden: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    temperature: Positive
    queue: Count
    momentum: Momentum
    momentum_schedule: Literal["cosine", "constant"]
    positives: Literal["sum_in_log", "mean_of_losses"]
    mode: Literal["sequential", "parallel"]


class OrderGeometry(MethodBlock):
    """Order and geometry prediction (Jiao et al., ISBI 2020)."""

    task: Literal["order"]
    motion: NoMotion
    variant: Literal["siamese", "disentangled"]
    shared: Annotated[int, Field(ge=0, le=4)]
    kept: Literal["order", "transform"]
    hidden: Count
    transform_weight: NonNegative


class Methods(Block):
    """The study's methods: an entry runs, no entry does not."""

    rspnet: RSPNet | None = None
    rho_moco: RhoMoCo | None = None
    order_geometry: OrderGeometry | None = None
