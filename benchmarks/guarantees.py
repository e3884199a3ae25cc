"""Put the figures of ``benchmarks/results/`` into ``docs/guarantees.md``.

python benchmarks/crash_points.py --json benchmarks/results/crash_points.json
python benchmarks/guarantees.py
"""

from __future__ import annotations

import json
from pathlib import Path

from crash_points import table

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "crash_points.json", HERE.parent / "docs" / "guarantees.md"
BEGIN, END = "<!-- crash points: begin -->\n", "<!-- crash points: end -->\n"


def rendered(page: str, results: str) -> str:
    """The page with the table of the last run in its place."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE}: has no place for the table of crash points")
    return f"{before}{BEGIN}{table(json.loads(results))}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), RESULTS.read_text()), "utf-8")
