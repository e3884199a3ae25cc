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


class Tasks(Block):
    """What each pretext task is; a method names the entry it reads."""

    margin: Annotated[float, Field(ge=0, le=2)]
    rho: Annotated[int, Field(ge=1, le=16)]


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


class RhoBYOL(MethodBlock):
    """ρBYOL (Feichtenhofer et al., CVPR 2021)."""

    task: Literal["rho"]
    motion: NoMotion
    dim: Count
    projector_hidden: Count
    projector_layers: Annotated[int, Field(ge=1, le=8)]
    predictor_hidden: Count
    predictor_layers: Annotated[int, Field(ge=1, le=8)]
    batch_norm: bool
    momentum: Momentum
    momentum_schedule: Literal["cosine", "constant"]
    mode: Literal["sequential", "parallel"]


class RhoSimCLR(MethodBlock):
    """ρSimCLR (Feichtenhofer et al., CVPR 2021)."""

    task: Literal["rho"]
    motion: NoMotion
    dim: Count
    hidden: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    batch_norm: bool
    temperature: Positive
    mode: Literal["sequential", "parallel"]


class Methods(Block):
    """The study's methods: an entry runs, no entry does not."""

    rspnet: RSPNet | None = None
    rho_moco: RhoMoCo | None = None
    rho_byol: RhoBYOL | None = None
    rho_simclr: RhoSimCLR | None = None
