"""``params.yaml`` in, typed and checked parameters out."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from videossl.job import UserError
from videossl.study import consistency, remembered, schema

if TYPE_CHECKING:
    from ruamel.yaml import YAML

DEFAULT = Path("params.yaml")
PARSED = Path("scratch", "params.json")  # what the text of DEFAULT says
Raw = dict[str, Any]


def pick(params: schema.Params, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = params
    for part in key.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


# ------------------------------------------------------------------ reading and checking


def yaml() -> YAML:
    """YAML 1.2 with comments and block style kept (1e-4 is a number there, unlike in 1.1)."""
    from ruamel.yaml import YAML

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
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {error.start + 1} is not UTF-8; save the file in that encoding"
        ) from None
    return _remembered(text, str(path)) if path == DEFAULT else parse(text, str(path))


def _remembered(text: str, name: str) -> Raw:
    """As ``parse``, which takes as long as a whole small stage and is asked by every process."""
    mark = hashlib.sha256(f"{version('ruamel.yaml')}\n{text}".encode()).hexdigest()
    kept = remembered.read(PARSED)
    if kept.get("text") == mark:
        raw: Raw = kept["raw"]
        return raw
    raw = parse(text, name)
    try:
        same = repr(json.loads(json.dumps(raw))) == repr(raw)
    except TypeError:  # a date, say
        same = False
    if same:
        remembered.write(PARSED, {"text": mark, "raw": raw})
    return raw


def parse(text: str, name: str) -> Raw:
    """The raw mapping of YAML text; ``name`` is the file it came from, for messages."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        raw = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply to be a study") from None
    if not isinstance(raw, dict):
        raise UserError(f"{name}: expected a mapping of sections, found {type(raw).__name__}")
    if (key := _endless(raw)) is not None:
        raise UserError(f"{name}: {key}: an alias (*) of a block that holds it has no end")
    return raw


def _endless(value: Any, key: str = "", inside: tuple[int, ...] = ()) -> str | None:
    """The first key whose value, through an alias, is a block that the key stands in; or None."""
    if id(value) in inside:
        return key
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return None
    within = (*inside, id(value))
    found = (_endless(item, f"{key}.{part}" if key else str(part), within) for part, item in items)
    return next((there for there in found if there is not None), None)


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
        params = schema.Params.model_validate(inherited(raw))
    except ValidationError as error:
        lines = [f"{name}: {_explain(fault)}" for fault in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None
    for fault in consistency.references(params):
        raise UserError(f"{name}: {fault}")
    params = params.model_copy(update={"task": _tasks(params, name)})
    for fault in consistency.errors(params):
        raise UserError(f"{name}: {fault}")
    return params


def inherited(raw: Raw) -> Raw:
    """``raw`` with every row complete: what it leaves out is as in the entry of its method."""
    rows = raw.get("methods")
    if not isinstance(rows, Mapping):
        return raw
    whole = {}
    for row, entry in rows.items():
        method = entry.get("method") if isinstance(entry, Mapping) else None
        base = rows.get(method) if isinstance(method, str) and method != row else None
        whole[row] = {**base, **entry} if isinstance(base, Mapping) else entry
    return {**raw, "methods": whole}


def _tasks(params: schema.Params, name: str) -> dict[str, Any]:
    """The entries of ``task``, each of the type that the methods read whose rows name it."""
    typed = dict(params.task)
    for row, spec in params.methods.items():
        key = f"task.{spec.task}"
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(spec.reads)
            value = adapter.validate_python(params.task[spec.task], strict=True)
        except ValidationError as error:
            lines = [
                f"{name}: {_explain(fault, key, spec.reads)} (methods.{row} reads it)"
                for fault in error.errors()
            ]
            raise UserError("\n".join(dict.fromkeys(lines))) from None
        typed[spec.task] = value
    return typed


def _explain(fault: Any, prefix: str = "", root: Any = schema.Params) -> str:
    """One line for one fault pydantic found in a ``root``: key, what was found, what is allowed."""
    parts, holder = _locate(fault["loc"], root)
    key, found = ".".join([prefix, *parts] if prefix else parts), fault["input"]
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
        must = "must be " if fault["msg"].startswith("Input should be ") else ""
        return f"{key}: {must}{message}"
    return f"{key} = {found!r}: must be {message}"


def _locate(loc: tuple[int | str, ...], root: Any) -> tuple[list[str], Any]:
    """Split a pydantic location into the key as the user wrote it, and the block that holds it.

    Pydantic's locations also name the member of a union that was tried; the user never wrote that.
    """
    parts: list[str] = []
    holder: Any = _members(root)[0]
    here: Any = root
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
    tag = next((fields[key] for key in ("format", "name", "method") if key in fields), None)
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
