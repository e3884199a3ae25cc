"""Blocks of ``params.yaml`` about pretext tasks and the methods that learn from them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videossl.schema.blocks import Block, Count, Momentum, NonNegative, Positive
from videossl.schema.training import Optimizer

NO_MOTION = "none"  # what a method says that needs no entry of ``motion``
NoMotion = Literal["none"]


class MethodBlock(Block):
    """What every method's block has; ``task`` and ``motion`` name the entries that it reads."""

    task: str
    motion: str
    optimizer: Optimizer


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


class Tasks(Block):
    """What each pretext task is; a method names the entry it reads."""

    margin: Annotated[float, Field(ge=0, le=2)]
    rho: Annotated[int, Field(ge=1, le=16)]
    distillation: Distillation


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


class MoDist(MethodBlock):
    """MoDist (Xiao et al., 2021)."""

    task: Literal["distillation"]
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


class Methods(Block):
    """The study's methods: an entry runs, no entry does not."""

    rspnet: RSPNet | None = None
    rho_moco: RhoMoCo | None = None
    modist: MoDist | None = None
