"""What HDC's and V3S's spread over seeds comes from, on the built-in study: before and after.

    python benchmarks/spread.py --json benchmarks/results/spread.json

HDC with a scene for each group of a class and with one for each group of all classes
(``data.synthetic.scenes``), V3S with 8 and with 16 epochs, with and without its tasks in space,
at the size of configs/larger.yaml under the linear probe. All have the same seeds, and random
weights stand beside them. A study runs for each dataset, in a folder of its own; nothing that is
done runs again.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path
from typing import Any

import figures_file
import numpy as np

import study
from videossl.study import overlay as overlays
from videossl.study import params

OVERLAY = study.ROOT / "configs/larger.yaml"
LONGER = 16  # epochs
TIME = {"scale_weight": 0.0, "projection_weight": 0.0}  # V3S learns how time was sampled alone
SCENES = {  # rows of a study
    "class": ("hdc", "v3s", "v3s_longer", "v3s_time", "v3s_both"),
    "group": ("hdc",),
}
LINES = (  # method, what is said of it, and where its numbers are: a study and a row of it
    ("hdc", "backgrounds shared by a group of one class", "class", "hdc"),
    ("hdc", "backgrounds shared by a group of all classes", "group", "hdc"),
    ("v3s", "8 epochs", "class", "v3s"),
    ("v3s", f"{LONGER} epochs", "class", "v3s_longer"),
    ("v3s", "8 epochs, weights 0 of the tasks in space", "class", "v3s_time"),
    ("v3s", f"{LONGER} epochs, weights 0 of the tasks in space", "class", "v3s_both"),
    ("scratch", "backgrounds shared by a group of one class", "class", "scratch"),
    ("scratch", "backgrounds shared by a group of all classes", "group", "scratch"),
)


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
    if scenes == "class":
        own = raw["methods"]["v3s"]
        found["pretrain"] = {"longer": {**deepcopy(raw["pretrain"]["short"]), "epochs": LONGER}}
        rows["v3s_longer"] = {**deepcopy(own), "pretrain": "longer"}
        rows["v3s_time"] = {**deepcopy(own), **TIME}
        rows["v3s_both"] = {**rows["v3s_longer"], **TIME}
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
    """A line per method and value: what every seed gives, mean and deviation."""
    seeds = " / ".join(map(str, found["seeds"]))
    lines = [f"| | | seeds {seeds} | mean |", "|---|---|---|---:|"]
    for method, what, scenes, row in LINES:
        own = found["studies"][scenes][row]
        each = " / ".join(f"{value:.1f}" for value in own)
        name = "random weights" if method == "scratch" else study.title(method)
        lines.append(
            f"| {name} | {what} | {each} | {np.mean(own):.1f} ± {np.std(own, ddof=1):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--directory", type=Path, default=study.ROOT / "benchmarks/study/spread")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    found = measured(args.directory, args.seeds)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
