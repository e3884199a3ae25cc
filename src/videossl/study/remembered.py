"""What would only be computed again: kept in ``scratch/`` between commands, believed if whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    """What was kept; empty where nothing was, or where a byte of the file is not as written."""
    try:
        digest, text = path.read_text(encoding="ascii").split("\n", 1)
    except (OSError, ValueError):
        return {}
    if digest != _digest(text):
        return {}
    values: dict[str, Any] = json.loads(text)
    return values


def write(path: Path, values: dict[str, Any]) -> None:
    """Keep ``values``; where that is not possible they are computed again next time.

    All processes write under one name, so that the next one clears what a killed one left. Two at
    once may spoil the file for each other: its digest tells.
    """
    text = json.dumps(values)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(f"{_digest(text)}\n{text}", encoding="ascii")
        part.replace(path)
    except OSError:
        _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # a folder that cannot be written to: then there is nothing to remove either
        return


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
