"""The file of figures that a benchmark writes, for ``pages.py`` and for whoever compares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def merge(path: Path | None, results: Sequence[dict[str, Any]], name: str) -> None:
    """Write results, each with a ``name``; those of other names stay in the file, in its order."""
    if path is not None:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        write(path, list({result[name]: result for result in [*known, *results]}.values()))


def write(path: Path | None, found: Any) -> None:
    """Write what was measured; nothing where no file is named. The folder is made."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
