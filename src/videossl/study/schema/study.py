"""All of ``params.yaml``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from videossl.study.schema.blocks import Block, Name
from videossl.study.schema.data import Dataset, Decode, Motion
from videossl.study.schema.downstream import Baseline, Finetune, Probe, Report
from videossl.study.schema.methods import Row
from videossl.study.schema.training import Backbone, Optimizer, Pretrain


class Params(Block):
    """All of ``params.yaml``: blocks have names, rows and tests point to them.

    ``task`` is raw here: the type of an entry is what the method reads whose row names it.
    """

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    data: Annotated[dict[Name, Dataset], Field(min_length=1)]
    decode: Decode
    motion: dict[Name, Motion]
    task: dict[Name, Any]
    backbone: dict[Name, Backbone]
    optimizer: dict[Name, Optimizer]
    pretrain: dict[Name, Pretrain]
    methods: dict[Name, Row]
    baselines: dict[Name, Baseline]
    finetune: dict[Name, Finetune]
    probe: dict[Name, Probe]
    report: Report
