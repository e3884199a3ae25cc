"""Every kind of test from one encoder, on the built-in dataset, beside random weights and chance.

    python benchmarks/transfer.py                   # configs/transfer.yaml, rows hdc and modist
    python benchmarks/transfer.py --rows rspnet --seeds 0 1 2
    python benchmarks/transfer.py --json benchmarks/results/transfer.json

Chance is what the same predictions are worth when they are given to other examples: those of the
first row, dealt anew ten times. The study runs in a folder of its own (``--directory``), and
running the script again runs nothing that is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import figures_file
import numpy as np

import study
from videossl import remeasure
from videossl.downstream import declarations
from videossl.downstream.metrics import PREDICTIONS, Predictions
from videossl.study import graph as stages
from videossl.study.registry import METHODS

BASELINE = "scratch"
DEALT = ("scores", "maps", "neighbour_labels")  # what is predicted; all else is the truth
TIMES = 10
LEFT_OUT = {"accuracy_se"}  # of a number that is there already


def chance(predictions: Predictions, measure: remeasure.Measure) -> dict[str, float]:
    """Metric -> its mean where predictions are dealt to other examples."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(TIMES):
        dealt = {
            name: rng.permutation(x, axis=1 if len(x) == 1 else 0) if name in DEALT else x
            for name, x in predictions.items()
        }
        values, totals = measure(dealt)
        for name, one in {**{k: float(v.mean()) for k, v in values.items()}, **totals}.items():
            found.setdefault(name, []).append(one)
    return {name: float(np.nanmean(own)) for name, own in found.items()}


def measured(target: Path) -> list[dict[str, Any]]:
    """A line per test, protocol and metric: chance, and the mean over seeds of each row."""
    planned = stages.load(target)
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for node in planned.instances:
        if node.stage not in ("test", "evaluate"):
            continue
        folder = target.parent / "runs" / planned.path(node)
        record = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        by_chance: Mapping[str, float] = {}
        if record["row"] == BASELINE and record["seed"] == planned.params.seeds[0]:
            with np.load(folder / PREDICTIONS) as stored:
                by_chance = chance(dict(stored), remeasure.measure_of(planned, node, target.parent))
        for metric, value in record["metrics"].items():
            key = record["test"], record["protocol"], metric
            line = lines.setdefault(
                key, dict(zip(("test", "protocol", "metric"), key, strict=True))
            )
            line.setdefault("rows", {}).setdefault(record["row"], []).append(value)
            if metric in by_chance:
                line["chance"] = by_chance[metric]
    return [line for line in lines.values() if line["metric"] not in LEFT_OUT]


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A line per test and metric: shares in per cent, other metrics as they are."""
    rows = list(lines[0]["rows"])
    names = ["random weights" if row == BASELINE else study.title(row) for row in rows]
    head = ["test", "by", "metric", "chance", *names]
    shown = [f"| {' | '.join(head)} |", f"|---|---|---|{'---:|' * (len(head) - 3)}"]
    for line in lines:
        metric = declarations.metric(line["metric"])
        numbers = [line["chance"], *(float(np.mean(line["rows"][row])) for row in rows)]
        cells = [f"{100 * x:.1f}" if metric.share else f"{x:.2f}" for x in numbers]
        title = metric.title + (" (low is better)" if metric.better == "low" else "")
        by = declarations.protocol(line["protocol"]).title
        shown.append(f"| {' | '.join([line['test'], by, title, *cells])} |")
    return "\n".join(shown)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(METHODS), default=["hdc", "modist"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--directory", type=Path, default=study.ROOT / "benchmarks/study/transfer")
    parser.add_argument("--overlay", type=Path, nargs="*", default=[], help="laid over it")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    others = {name: None for name in METHODS if name not in args.rows}
    overlays = [*args.overlay, study.ROOT / "configs/transfer.yaml"]
    target = study.run(args.directory, [{"methods": others}, {"seeds": args.seeds}], overlays)
    found = measured(target)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
