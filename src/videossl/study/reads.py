"""What each stage reads of ``params.yaml``: the one place that says who reads which key.

A stage process is handed an instance of its own class and nothing else: reading a key that is not
declared here is an ``AttributeError``, and both engines are told the same keys.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict

from videossl.study import schema
from videossl.study.params import pick


class Key:
    """The place in ``params.yaml`` of a stage's field; ``{}`` parts come from the instance.

    Keys of the block that ``but`` names are read by others: the stage's block has none of them.
    """

    def __init__(self, path: str, but: tuple[str, ...] = ()) -> None:
        self.path, self.but = path, but


class StageParams(BaseModel):
    """The declared subset of ``params.yaml`` that one stage is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PrepareParams(StageParams):
    """What ``prepare`` reads."""

    data: Annotated[schema.Dataset, Key("data.{dataset}")]


class DecodeParams(StageParams):
    """What ``decode`` reads."""

    decode: Annotated[schema.Decode, Key("decode")]
    data: Annotated[schema.Dataset, Key("data.{dataset}")]


class MotionParams(StageParams):
    """What ``motion`` reads."""

    motion: Annotated[schema.Motion, Key("motion.{motion}")]


class PretrainParams(StageParams):
    """What ``pretrain`` reads; the row's keys without an entry of its own are its method's."""

    method: Annotated[schema.MethodBlock, Key("methods.{row}")]
    task: Annotated[Any, Key("task.{task}")]
    backbone: Annotated[schema.Backbone, Key("backbone.{backbone}")]
    optimizer: Annotated[schema.Optimizer, Key("optimizer.{optimizer}")]
    pretrain: Annotated[schema.Pretrain, Key("pretrain.{pretrain}")]


class InitializeParams(StageParams):
    """What ``initialize`` reads."""

    baseline: Annotated[schema.Baseline, Key("baselines.{row}")]
    backbone: Annotated[schema.Backbone, Key("backbone.{backbone}")]


class SelectParams(StageParams):
    """What ``select`` reads: of which dataset which labels."""

    data: Annotated[str, Key("{form}.{test}.data")]
    labels: Annotated[str, Key("{form}.{test}.labels")]


class FinetuneParams(StageParams):
    """What ``finetune`` reads; the split is the instance's."""

    finetune: Annotated[schema.Finetune, Key("finetune.{test}", but=("splits", "test"))]
    optimizer: Annotated[schema.Optimizer, Key("optimizer.{optimizer}")]


class TestParams(StageParams):
    """What ``test`` reads."""

    clip: Annotated[schema.Clip, Key("finetune.{test}.clip")]
    sampling: Annotated[schema.FrameSampling, Key("finetune.{test}.sampling")]
    test: Annotated[schema.Views, Key("finetune.{test}.test")]


class EmbedParams(StageParams):
    """What ``embed`` reads."""

    clip: Annotated[schema.Clip, Key("probe.{test}.clip")]
    features: Annotated[schema.Features, Key("probe.{test}.features")]


class EvaluateParams(StageParams):
    """What ``evaluate`` reads: its protocol."""

    protocol: Annotated[Any, Key("probe.{test}.{protocol}")]


class AggregateParams(StageParams):
    """What ``aggregate`` reads: the names of rows, tests and protocols, and how to show them."""

    seeds: Annotated[list[int], Key("seeds")]
    data: Annotated[dict[str, schema.Dataset], Key("data")]
    methods: Annotated[dict[str, schema.MethodBlock], Key("methods")]
    baselines: Annotated[dict[str, schema.Baseline], Key("baselines")]
    finetune: Annotated[dict[str, schema.Finetune], Key("finetune")]
    probe: Annotated[dict[str, schema.Probe], Key("probe")]
    report: Annotated[schema.Report, Key("report")]


READS: dict[str, type[StageParams]] = {
    "prepare": PrepareParams,
    "decode": DecodeParams,
    "motion": MotionParams,
    "pretrain": PretrainParams,
    "initialize": InitializeParams,
    "select": SelectParams,
    "finetune": FinetuneParams,
    "test": TestParams,
    "embed": EmbedParams,
    "evaluate": EvaluateParams,
    "aggregate": AggregateParams,
}


def fields(stage: str) -> dict[str, Key]:
    """Field of the stage's class -> its place in ``params.yaml``."""
    return _fields(READS[stage])


@cache
def _fields(reads: type[StageParams]) -> dict[str, Key]:
    hints = get_type_hints(reads, include_extras=True)
    return {
        field: next(m for m in hint.__metadata__ if isinstance(m, Key))
        for field, hint in hints.items()
        if field in reads.model_fields
    }


def subset(params: schema.Params, stage: str, names: dict[str, str]) -> StageParams:
    """The declared part of ``params`` for one stage instance, and nothing else."""
    values = {
        field: _without(pick(params, key.path.format(**names)), key.but)
        for field, key in fields(stage).items()
    }
    return READS[stage].model_construct(**values)


def _without(value: Any, but: tuple[str, ...]) -> Any:
    """A block without some of its keys: reading one is an ``AttributeError``."""
    if not but:
        return value
    kept = {name: item for name, item in value if name not in but}
    return type(value).model_construct(**kept)
