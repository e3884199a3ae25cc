"""The table of the study that ``make`` runs, from its ``runs/report/results.csv``.

make && python benchmarks/default.py                 # prints it
python benchmarks/default.py --json benchmarks/results/default.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

import study

BASELINE = "scratch"
TITLES = {
    "linear": "linear probe",
    "attentive": "attentive probe",
    "knn": "kNN",
    "retrieval": "retrieval R@1",
    "recognition": "fine-tuned",
}


def measured(results: Path) -> dict[str, Any]:
    """Per row and protocol its first metric in per cent."""
    found = pd.read_csv(results)
    found = found[found["metric"] == found["protocol"].map({**study.PRIMARY, "attentive": "top1"})]
    rows: dict[str, dict[str, float]] = {}
    for line in found.itertuples():
        rows.setdefault(str(line.row), {})[str(line.protocol)] = round(100 * float(line.value), 4)
    return {"test_videos": int(found["n"].iloc[0]), "rows": rows}


def table(found: dict[str, Any]) -> str:
    """A line per row, in brackets points over random weights."""
    baseline = found["rows"][BASELINE]
    shown = [name for name in TITLES if name in baseline]
    head = f"| | {' | '.join(TITLES[name] for name in shown)} |"
    lines = [head, f"|---|{'---:|' * len(shown)}"]
    for row, values in found["rows"].items():
        cells = [f"{values[name]:.1f}" for name in shown]
        if row != BASELINE:
            cells = [
                f"{cell} ({values[name] - baseline[name]:+.1f})"
                for name, cell in zip(shown, cells, strict=True)
            ]
        name = "random weights" if row == BASELINE else study.title(row)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("runs/report/results.csv"))
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    found = measured(args.results)
    print(table(found))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
