"""All of ``params.yaml``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from videossl.study.schema.blocks import Block, Name
from videossl.study.schema.data import Clip, Dataset, Decode, Motion
from videossl.study.schema.downstream import Baseline, Embed, Evaluate, Report
from videossl.study.schema.methods import Methods, Tasks
from videossl.study.schema.training import Backbone, Finetune, Pretrain


class Params(Block):
    """All of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    split: Annotated[int, Field(ge=1, le=3)]
    data: Annotated[dict[Name, Dataset], Field(min_length=1)]
    decode: Decode
    motion: dict[Name, Motion]
    clip: Clip
    model: Backbone
    pretrain: Pretrain
    task: Tasks
    methods: Methods
    baselines: dict[Name, Baseline]
    finetune: Finetune
    embed: Embed
    evaluate: Evaluate
    report: Report
