"""Put the figures of ``benchmarks/results/`` into README and docs, where comments hold places.

python benchmarks/crash_points.py --json benchmarks/results/crash_points.json
python benchmarks/kills.py --json benchmarks/results/kills.json
python benchmarks/frozen.py --json benchmarks/results/frozen.json
make && python benchmarks/default.py --json benchmarks/results/default.json
python benchmarks/real.py lips --root TABLE --frozen --json benchmarks/results/lips.json
python benchmarks/real.py ultrasound --root TABLE --frozen --json benchmarks/results/ultrasound.json
python benchmarks/speakers.py --seeds 0 --json benchmarks/results/speakers.json
python benchmarks/spread.py --json benchmarks/results/spread.json
python benchmarks/trials.py --root TABLE --json benchmarks/results/trials.json
python benchmarks/datapath.py --json benchmarks/results/datapath.json
python benchmarks/long_videos.py --json benchmarks/results/long_videos.json
python benchmarks/ranks.py --json benchmarks/results/ranks.json
python benchmarks/planning.py --json benchmarks/results/planning.json
python benchmarks/scale.py --json benchmarks/results/scale.json
python benchmarks/transfer.py --json benchmarks/results/transfer.json
python benchmarks/bootstrap.py --json benchmarks/results/bootstrap.json
python benchmarks/slurm_share.py --json benchmarks/results/slurm_share.json
python benchmarks/slurm_faults.py --json benchmarks/results/slurm_faults.json
python benchmarks/pages.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bootstrap
import crash_points
import datapath_tables
import default
import frozen
import kills
import long_videos
import planning
import ranks
import real
import scale
import slurm_faults
import slurm_share
import speakers
import spread
import transfer
import trials

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHOWN: dict[str, dict[str, Callable[[Any], str]]] = {  # page -> place -> its table
    "README.md": {"default": default.table},
    "docs/cluster.md": {"slurm_faults": slurm_faults.table, "slurm_share": slurm_share.table},
    "docs/guarantees.md": {
        "crash_points": crash_points.table,
        "kills": kills.table,
        "frozen": frozen.table,
    },
    "docs/methods.md": {
        "spread": spread.table,
        "lips": real.table,
        "ultrasound": real.table,
        "speakers": speakers.table,
        "trials": trials.table,
    },
    "docs/performance.md": {
        **{f"datapath {show.__name__}": show for show in datapath_tables.ALL},
        "long_videos": long_videos.table,
        "planning": planning.table,
        "scale": scale.table,
        "ranks": ranks.table,
    },
    "docs/tests.md": {"bootstrap": bootstrap.table, "transfer": transfer.table},
}


def rendered(name: str, page: str) -> str:
    """The page of that name with the tables of the last runs in their places.

    The first word of a place is the name of the file of results.

    Raises:
        ValueError: it has no place for one of them.
    """
    for place, table in SHOWN[name].items():
        begin, end = f"<!-- {place}: begin -->\n", f"<!-- {place}: end -->\n"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{name}: has no place for {place}")
        file = HERE / "results" / f"{place.split()[0]}.json"
        read = json.loads(file.read_text(encoding="utf-8"))
        page = f"{before}{begin}{table(read)}\n{end}{after}"
    return page


def main() -> None:
    """Write all pages."""
    for name in SHOWN:
        path = ROOT / name
        path.write_text(rendered(name, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
