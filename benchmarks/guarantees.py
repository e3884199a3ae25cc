"""Put the figures of ``benchmarks/results/`` into ``docs/guarantees.md``.

python benchmarks/crash_points.py --json benchmarks/results/crash_points.json
python benchmarks/kills.py --json benchmarks/results/kills.json
python benchmarks/frozen.py --json benchmarks/results/frozen.json
python benchmarks/guarantees.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash_points
import frozen
import kills

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "guarantees.md"
SHOWN: dict[str, Callable[[Any], str]] = {  # name of a file of results -> what is shown of it
    "crash_points": crash_points.table,
    "kills": kills.table,
    "frozen": frozen.table,
}


def rendered(page: str) -> str:
    """The page with the tables of the last runs in their places."""
    for name, table in SHOWN.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE}: has no place for {name}")
        results = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
        page = f"{before}{begin}{table(results)}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
