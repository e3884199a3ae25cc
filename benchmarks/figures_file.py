"""The file of figures that a benchmark writes, for ``pages.py`` and for whoever compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path | None, found: Any) -> None:
    """Write what was measured; nothing where no file is named. The folder is made."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
