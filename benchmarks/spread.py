"""What HDC's and V3S's spread over seeds comes from, on the built-in study: before and after.

    python benchmarks/spread.py --json benchmarks/results/spread.json

HDC with a scene for each group of a class and with one for each group of all classes
(``data.synthetic.scenes``), V3S with 8 and with 16 epochs, at the size of configs/larger.yaml under
the linear probe. Both values of each pair have the same seeds, and random weights stand beside
them. A study runs for each dataset, in a folder of its own; nothing that is done runs again.
"""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

import study
from videossl.study import overlay as overlays
from videossl.study import params

OVERLAY = study.ROOT / "configs/larger.yaml"
LONGER = 16  # epochs
CHANGES = {  # row: what its two values are of, and what they are
    "hdc": ("background shared by", "a group of one class", "a group of all classes"),
    "v3s": ("epochs", "8", str(LONGER)),
}
SCENES = {"class": ("hdc", "v3s", "v3s_longer"), "group": ("hdc",)}  # which rows each study runs


def changed(raw: dict[str, Any], scenes: str, seeds: list[int]) -> dict[str, Any]:
    """The change of the study ``raw`` that leaves these rows, and the linear probe of motion."""
    kept = {"data", "labels", "splits", "clip", "features", "linear"}
    probe = dict.fromkeys(raw["probe"])
    probe["synthetic"] = {
        **dict.fromkeys(key for key in raw["probe"]["synthetic"] if key not in kept),
        "features": {"tokens": False},
    }
    rows = {**dict.fromkeys(raw["methods"]), **{row: {} for row in SCENES[scenes]}}
    found: dict[str, Any] = {
        "data": {"synthetic": {"scenes": scenes}},
        "finetune": dict.fromkeys(raw["finetune"]),
        "probe": probe,
        "seeds": seeds,
    }
    if "v3s_longer" in rows:
        found["pretrain"] = {"longer": {**deepcopy(raw["pretrain"]["short"]), "epochs": LONGER}}
        rows["v3s_longer"] = {**deepcopy(raw["methods"]["v3s"]), "pretrain": "longer"}
    return {**found, "methods": rows}


def measured(directory: Path, seeds: list[int]) -> dict[str, Any]:
    """Per study and row the linear probe's top-1 of each seed, in per cent."""
    raw = params.read(study.ROOT / "params.yaml")
    overlays.merge(raw, params.read(OVERLAY))
    found: dict[str, dict[str, list[float]]] = {}
    for scenes in SCENES:
        target = study.run(directory / scenes, [changed(raw, scenes, seeds)], [OVERLAY])
        for row, own in study.results(target).groupby("row", sort=False):
            values = own.sort_values("seed")["value"].tolist()
            found.setdefault(scenes, {})[str(row)] = values
    return {"seeds": seeds, "studies": found}


def table(found: dict[str, Any]) -> str:
    """A line per value of each pair: what every seed gives, mean and deviation."""
    studies = found["studies"]
    sides = [("hdc", studies["class"]["hdc"], studies["group"]["hdc"])]
    sides.append(("v3s", studies["class"]["v3s"], studies["class"]["v3s_longer"]))
    seeds = " / ".join(map(str, found["seeds"]))
    lines = [f"| | | seeds {seeds} | mean |", "|---|---|---|---:|"]
    for row, *values in sides:
        what, *names = CHANGES[row]
        for name, own in zip(names, values, strict=True):
            lines.append(f"| {study.title(row)} | {what}: {name} | {_cells(own)} |")
    for scenes, name in zip(SCENES, CHANGES["hdc"][1:], strict=True):
        own = studies[scenes]["scratch"]
        lines.append(f"| random weights | {CHANGES['hdc'][0]}: {name} | {_cells(own)} |")
    return "\n".join(lines)


def _cells(values: list[float]) -> str:
    each = " / ".join(f"{value:.1f}" for value in values)
    return f"{each} | {np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--directory", type=Path, default=study.ROOT / "benchmarks/study/spread")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    found = measured(args.directory, args.seeds)
    print(table(found))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
