"""The table of the study that ``make`` runs, from its ``runs/report/results.csv``.

make && python benchmarks/default.py                 # prints it
python benchmarks/default.py --json benchmarks/results/default.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import figures_file
import pandas as pd

import study

BASELINE = "scratch"
COLUMNS = {  # test and protocol -> title, metric
    ("synthetic", "linear"): ("linear probe", "top1"),
    ("synthetic", "attentive"): ("attentive probe", "top1"),
    ("synthetic", "knn"): ("kNN", "top1"),
    ("synthetic", "retrieval"): ("retrieval R@1", "R@1"),
    ("synthetic", "recognition"): ("fine-tuned", "top1"),
    ("pairs", "similarity"): ("pairs: same motion?", "accuracy"),
    ("shape", "knn"): ("shape, kNN", "top1"),
}


def measured(results: Path) -> dict[str, Any]:
    """Per row, test and protocol its first metric in per cent; "/" joins test and protocol."""
    found = pd.read_csv(results)
    keys = zip(found["test"], found["protocol"], found["metric"], strict=True)
    found = found[[COLUMNS.get((test, by), ("", ""))[1] == metric for test, by, metric in keys]]
    rows: dict[str, dict[str, float]] = {}
    for line in found.itertuples():
        values = rows.setdefault(str(line.row), {})
        values[f"{line.test}/{line.protocol}"] = round(100 * float(line.value), 4)
    return {"test_videos": int(found[found["protocol"] == "linear"]["n"].iloc[0]), "rows": rows}


def table(found: dict[str, Any]) -> str:
    """A line per row, in brackets points over random weights."""
    baseline = found["rows"][BASELINE]
    shown = {"/".join(key): title for key, (title, _) in COLUMNS.items()}
    shown = {key: title for key, title in shown.items() if key in baseline}
    lines = [f"| | {' | '.join(shown.values())} |", f"|---|{'---:|' * len(shown)}"]
    for row, values in found["rows"].items():
        cells = [f"{values[key]:.1f}" for key in shown]
        if row != BASELINE:
            cells = [
                f"{cell} ({values[key] - baseline[key]:+.1f})"
                for key, cell in zip(shown, cells, strict=True)
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
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
