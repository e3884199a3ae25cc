"""Put the figures of ``benchmarks/results/`` into README and docs, where comments hold places.

python benchmarks/crash_points.py --json benchmarks/results/crash_points.json
python benchmarks/kills.py --json benchmarks/results/kills.json
python benchmarks/frozen.py --json benchmarks/results/frozen.json
make && python benchmarks/default.py --json benchmarks/results/default.json
python benchmarks/real.py lips --root TABLE --json benchmarks/results/lips.json
python benchmarks/pages.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash_points
import default
import frozen
import kills
import real

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHOWN: dict[str, dict[str, Callable[[Any], str]]] = {  # page -> file of results -> its table
    "README.md": {"default": default.table},
    "docs/guarantees.md": {
        "crash_points": crash_points.table,
        "kills": kills.table,
        "frozen": frozen.table,
    },
    "docs/methods.md": {"lips": real.table},
}


def rendered(name: str, page: str) -> str:
    """The page of that name with the tables of the last runs in their places.

    Raises:
        ValueError: it has no place for one of them.
    """
    for results, table in SHOWN[name].items():
        begin, end = f"<!-- {results}: begin -->\n", f"<!-- {results}: end -->\n"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{name}: has no place for {results}")
        read = json.loads((HERE / "results" / f"{results}.json").read_text(encoding="utf-8"))
        page = f"{before}{begin}{table(read)}\n{end}{after}"
    return page


def main() -> None:
    """Write all pages."""
    for name in SHOWN:
        path = ROOT / name
        path.write_text(rendered(name, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
