"""``params.yaml`` in, typed parameters out; and the one place that says who reads which key.

A stage process is handed an instance of its own class in ``READS`` and nothing else: reading a key
that is not declared here is an ``AttributeError``, and both engines are told the same keys.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from videossl.job import UserError
from videossl.study import consistency, schema

DEFAULT = Path("params.yaml")
Raw = dict[str, Any]


# ------------------------------------------------------------------ what each stage reads


class Key:
    """The place in ``params.yaml`` of a stage's field; ``{}`` parts come from the instance."""

    def __init__(self, path: str) -> None:
        self.path = path


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
    dataset: Annotated[str, Key("pretrain.dataset")]


class PretrainParams(StageParams):
    """What ``pretrain`` reads."""

    seed: Annotated[int, Key("seed")]
    split: Annotated[int, Key("split")]
    clip: Annotated[schema.Clip, Key("clip")]
    model: Annotated[schema.Backbone, Key("model")]
    pretrain: Annotated[schema.Pretrain, Key("pretrain")]
    method: Annotated[schema.MethodBlock, Key("methods.{method}")]
    task: Annotated[Any, Key("task.{task}")]


class InitializeParams(StageParams):
    """What ``initialize`` reads."""

    seed: Annotated[int, Key("seed")]
    model: Annotated[schema.Backbone, Key("model")]
    baseline: Annotated[schema.Baseline, Key("baselines.{baseline}")]


class FinetuneParams(StageParams):
    """What ``finetune`` reads."""

    seed: Annotated[int, Key("seed")]
    split: Annotated[int, Key("split")]
    clip: Annotated[schema.Clip, Key("clip")]
    model: Annotated[schema.Backbone, Key("model")]
    finetune: Annotated[schema.Finetune, Key("finetune")]


class EmbedParams(StageParams):
    """What ``embed`` reads."""

    split: Annotated[int, Key("split")]
    clip: Annotated[schema.Clip, Key("clip")]
    model: Annotated[schema.Backbone, Key("model")]
    embed: Annotated[schema.Embed, Key("embed")]


class RecognitionParams(StageParams):
    """What ``evaluate`` reads for multi-clip recognition."""

    seed: Annotated[int, Key("seed")]
    split: Annotated[int, Key("split")]
    clip: Annotated[schema.Clip, Key("clip")]
    model: Annotated[schema.Backbone, Key("model")]
    protocol: Annotated[schema.Recognition, Key("evaluate.finetuned.{protocol}")]


class FrozenParams(StageParams):
    """What ``evaluate`` reads for a protocol on frozen features."""

    seed: Annotated[int, Key("seed")]
    split: Annotated[int, Key("split")]
    protocol: Annotated[
        schema.Linear | schema.KNN | schema.Retrieval, Key("evaluate.frozen.{protocol}")
    ]


class AggregateParams(StageParams):
    """What ``aggregate`` reads: the names of rows and columns, and how to show them."""

    data: Annotated[dict[str, schema.Dataset], Key("data")]
    methods: Annotated[schema.Methods, Key("methods")]
    baselines: Annotated[dict[str, schema.Baseline], Key("baselines")]
    evaluate: Annotated[schema.Evaluate, Key("evaluate")]
    report: Annotated[schema.Report, Key("report")]


READS: dict[str, type[StageParams]] = {
    "prepare": PrepareParams,
    "decode": DecodeParams,
    "motion": MotionParams,
    "pretrain": PretrainParams,
    "initialize": InitializeParams,
    "finetune": FinetuneParams,
    "embed": EmbedParams,
    "aggregate": AggregateParams,
}


def declared(reads: type[StageParams], **who: str) -> dict[str, str]:
    """Field -> key in ``params.yaml`` of the subset that ``reads`` declares for one instance."""
    return {field: path.format(**who) for field, path in _paths(reads).items()}


@cache
def _paths(reads: type[StageParams]) -> dict[str, str]:
    hints = get_type_hints(reads, include_extras=True)
    return {
        field: next(m.path for m in hint.__metadata__ if isinstance(m, Key))
        for field, hint in hints.items()
        if field in reads.model_fields
    }


def subset(params: schema.Params, reads: type[StageParams], **who: str) -> StageParams:
    """The declared part of ``params`` for one stage instance, and nothing else."""
    values = {field: pick(params, key) for field, key in declared(reads, **who).items()}
    return reads.model_construct(**values)


def pick(params: schema.Params, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = params
    for part in key.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


# ------------------------------------------------------------------ reading and checking


def yaml() -> YAML:
    """YAML 1.2 with comments and block style kept (1e-4 is a number there, unlike in 1.1)."""
    y = YAML()
    y.preserve_quotes = True
    y.width = 100
    return y


def read(path: Path) -> Raw:
    """The raw mapping of a YAML file.

    Raises:
        UserError: the file is absent or is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run this in the study's folder") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Raw:
    """The raw mapping of YAML text; ``name`` is the file it came from, for messages."""
    try:
        raw = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{name}: expected a mapping of sections, found {type(raw).__name__}")
    return raw


def load(path: Path = DEFAULT) -> schema.Params:
    """Read, type and check ``params.yaml``.

    Raises:
        UserError: with one line per fault: key, value found, what is allowed.
    """
    return validate(read(path), str(path))


def validate(raw: Raw, name: str) -> schema.Params:
    """Type and check a raw mapping; ``name`` is the file it came from, for messages."""
    empty = [key for key, value in leaves(raw).items() if value is None]
    if empty:
        raise UserError(f"{name}: {empty[0]}: has no value; give one or remove the key")
    try:
        params = schema.Params.model_validate(raw)
    except ValidationError as error:
        lines = [f"{name}: {_explain(fault)}" for fault in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None
    for fault in consistency.found(params):
        raise UserError(f"{name}: {fault}")
    return params


def _explain(fault: Any) -> str:
    """One line for one fault pydantic found: key, what was found, what is allowed."""
    parts, holder = _locate(fault["loc"])
    key, found = ".".join(parts), fault["input"]
    if fault["type"] == "extra_forbidden":
        allowed = ", ".join(getattr(holder, "model_fields", {}))
        return f"{key}: no such key; allowed here: {allowed}"
    if fault["type"] == "missing":
        return f"{key}: missing"
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        tag = context["discriminator"].strip("'")
        return f"{key}.{tag} = {context['tag']!r}: must be {context['expected_tags']}"
    if fault["type"] == "union_tag_not_found":
        tag = fault["ctx"]["discriminator"].strip("'")
        return f"{key}.{tag}: missing"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if isinstance(found, Mapping):
        return f"{key}: {message}"
    return f"{key} = {found!r}: must be {message}"


def _locate(loc: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Split a pydantic location into the key as the user wrote it, and the block that holds it.

    Pydantic's locations also name the member of a union that was tried; the user never wrote that.
    """
    parts: list[str] = []
    holder: Any = None
    here: Any = schema.Params
    for part in loc:
        options = _members(here)
        tagged = [m for m in options if part in _tags(m)]
        if len(options) > 1 and tagged:
            here = tagged[0]
            continue
        parts.append(str(part))
        holder = options[0]
        here = _below(holder, part)
    return parts, holder


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a (possibly annotated, possibly optional) union; else itself."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [m for a in get_args(annotation) if a is not NoneType for m in _members(a)]
    return [annotation]


def _tags(member: Any) -> tuple[Any, ...]:
    """The values of the field that tells the members of a union apart."""
    fields = getattr(member, "model_fields", {})
    tag = next((fields[key] for key in ("format", "name") if key in fields), None)
    return get_args(tag.annotation) if tag is not None else ()


def _below(holder: Any, part: int | str) -> Any:
    """The annotation one step down: a field of a block, a value of a mapping, an item of a list."""
    if get_origin(holder) in (dict, list):
        return get_args(holder)[-1]
    fields = get_type_hints(holder, include_extras=True) if isinstance(holder, type) else {}
    return fields.get(str(part))


# ------------------------------------------------------------------ leaves


def leaves(raw: Any, prefix: str = "") -> dict[str, Any]:
    """Flat ``{"finetune.optimizer.lr": 0.1}`` of a nested mapping.

    Lists are leaves, empty mappings are not.
    """
    if not isinstance(raw, Mapping):
        return {prefix: raw}
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        flat |= leaves(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def dump(value: Any) -> Any:
    """A typed value as plain YAML data: what stood in the file."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: dump(item) for key, item in value.items()}
    return value
