"""The JSON schema of ``params.yaml``: what an editor needs to complete and check keys."""

from __future__ import annotations

import json
from typing import Any

from videossl.study import schema


def text() -> str:
    """The schema as JSON, ending in a newline."""
    return json.dumps(build(), indent=1, sort_keys=True) + "\n"


def build() -> dict[str, Any]:
    """The schema of the file as a user writes it.

    A row may leave out what the entry of its method has, so of a row only ``method`` is required;
    what an entry of ``task`` may be is any of the tasks.
    """
    found: dict[str, Any] = schema.Params.model_json_schema()
    blocks = found["$defs"]
    tasks = []
    for row in schema.ROWS:
        block = blocks[row.__name__]
        block["required"] = ["method"]
        tasks.append(_task(row, blocks))
    unique = {json.dumps(task, sort_keys=True): task for task in tasks}
    entries = found["properties"]["task"]["patternProperties"]
    for pattern in entries:
        entries[pattern] = {"anyOf": list(unique.values())}
    found["title"] = "params.yaml of videossl"
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return found


def _task(row: type[schema.MethodBlock], blocks: dict[str, Any]) -> dict[str, Any]:
    """The schema of what a method reads from ``task``; blocks it needs are added to ``blocks``."""
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(row.reads)
    part: dict[str, Any] = adapter.json_schema(ref_template="#/$defs/{model}")
    blocks.update(part.pop("$defs", {}))
    if part.get("type") == "object":
        name = part["title"]
        blocks[name] = part
        return {"$ref": f"#/$defs/{name}"}
    return part
