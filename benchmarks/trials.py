"""What was tried on lips beside the study's settings, looked at without the test speakers.

    python benchmarks/trials.py --root TABLE                     # all; five CPU minutes each
    python benchmarks/trials.py --root TABLE --only vtdl sts     # rows
    python benchmarks/trials.py --root TABLE --json benchmarks/results/trials.json

A trial is a row of ``configs/lips.yaml`` with other settings, under the linear probe: of the
validation speakers, whom nobody knows, and of the training speakers two at a time, whom the encoder
knows and the classifier does not. Features are those of the backbone's last stage, and of its last
two. Running the script again runs nothing that is done.
"""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import figures_file
import numpy as np
import speakers

import study
from videossl.downstream import examples
from videossl.study import graph as stages
from videossl.study import overlay as overlays
from videossl.study import params
from videossl.study.stages import instance

OVERLAY = study.ROOT / "configs" / "lips.yaml"
SCRATCH, TEST = "scratch", speakers.TEST
STUDYS = "as in the study"  # the column from the table of speakers
STRONG = {  # less of a face is left to know it by
    "crop_area": [0.3, 1.0],
    "crop_aspect": [0.75, 1.33],
    "jitter": {"probability": 1.0, "brightness": 0.8, "contrast": 0.8},
    "blur": {"probability": 0.5},
}
SLOWER = "adamw_slower"  # an optimizer with half the rate of ``adamw``
QUEUE = {"queue": 64, "optimizer": SLOWER}
# row, what is said of it, what changes in the row, clips
Trial = tuple[str, str, dict[str, Any], dict[str, Any]]
TRIALS: tuple[Trial, ...] = (
    (SCRATCH, "", {}, {}),
    ("vtdl", "strong", {}, {}),
    ("rho_simclr", "strong, ρ 1", {}, {}),
    ("rho_swav", "strong, ρ 1", {}, {}),
    ("sts", "strong", {}, {}),
    ("rho_moco", "strong, ρ 1", {}, {}),
    (
        "rho_moco",
        "strong, ρ 1, queue 64, rate 1e-3, momentum 0.99 constant",
        {**QUEUE, "momentum": 0.99, "momentum_schedule": "constant"},
        {},
    ),
    ("rspnet", "strong, clips of 4 frames", {}, {"frames": 4}),
    ("rspnet", "strong, momentum 0.95", {"momentum": 0.95}, {}),
    ("rspnet", "strong, queue 64, rate 1e-3", QUEUE, {}),
    (
        "rho_byol",
        "strong, ρ 1, momentum 0.95 constant",
        {"momentum": 0.95, "momentum_schedule": "constant"},
        {},
    ),
    ("modist", "strong", {}, {}),
    ("modist", "strong, momentum 0.95", {"momentum": 0.95}, {}),
)


def changes(trial: Trial, raw: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    """What of the study ``raw`` changes: one row, its settings, the probe's layers."""
    row, _, own, clip = trial
    protocols = ("knn", "retrieval", "attentive")
    probe = {"features": {"layers": [-2, -1]}} | {
        name: None for name in protocols if name in raw["probe"][TEST]
    }
    slower = {**deepcopy(raw["optimizer"]["adamw"]), "lr": raw["optimizer"]["adamw"]["lr"] / 2}
    return [
        {
            "seeds": [0],
            "data": {TEST: {"root": str(root)}},
            "finetune": dict.fromkeys(raw["finetune"]),
            "probe": {TEST: probe},
            "methods": {name: None for name in raw["methods"] if name != row},
            "pretrain": {"short": {"clip": clip, "augment": STRONG}},
            "optimizer": {SLOWER: slower},
            "task": {"rho": 1},
        },
        *([{"methods": {row: own}}] if own else []),
    ]


def measured(target: Path, row: str) -> dict[str, list[float]]:
    """Of the last stage and of the last two: per cent of validation and of training speakers."""
    planned = stages.load(target)
    runs, spec = target.parent / "runs", planned.params.probe[TEST].linear
    assert spec is not None
    found = examples.read(runs / planned.path(instance("select", "probe", TEST)))
    node = planned.find("embed", {"row": row, "test": TEST, "seed": "0"})
    features = np.load(runs / planned.path(node) / "features.npy")
    train, validation = (found.part(1, part) for part in ("train", "val"))
    last = features.shape[1] // 3  # a stage has twice the channels of the one before
    values = {}
    for name, x in (("last", features[:, last:]), ("two", features)):
        right = speakers.right(x, found, (train, validation), spec)
        known = speakers.left_out(x, found, train, "speaker", spec)
        values[name] = [100 * right / len(validation), known]
    return values


def table(found: dict[str, Any]) -> str:
    """A line per trial; in brackets points over random weights."""
    heads = ["validation, last stage", "training, last stage", f"({STUDYS})"]
    heads += ["validation, last two", "training, last two"]
    lines = [f"| | change | {' | '.join(heads)} |", f"|---|---|{'---:|' * len(heads)}"]
    trials = found["trials"]
    base = next(one for one in trials if one["row"] == SCRATCH)
    for one in trials:
        title = "random weights" if one["row"] == SCRATCH else study.title(one["row"])

        def cell(value: float, random: float, one: dict[str, Any] = one) -> str:
            return f"{value:.1f}" + ("" if one is base else f" ({value - random:+.1f})")

        last, two = (list(map(cell, one[name], base[name])) for name in ("last", "two"))
        whole = cell(one["study"], base["study"])
        cells = [title, one["change"], *last, whole, *two]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="CSV file of the videos")
    parser.add_argument("--only", nargs="+", help="rows; all where none is named")
    parser.add_argument("--directory", type=Path, default=study.ROOT / "benchmarks/study/trials")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    shown = json.loads((study.ROOT / "benchmarks/results/speakers.json").read_text("utf-8"))
    raw = params.read(study.ROOT / "params.yaml")
    overlays.merge(raw, params.read(OVERLAY))
    trials = []
    for trial in TRIALS:
        row, change, _, _ = trial
        if args.only and row not in (*args.only, SCRATCH):
            continue
        target = study.run(args.directory, changes(trial, raw, args.root.resolve()), [OVERLAY])
        own = float(np.mean(shown["rows"][row]["encoder"]))
        trials.append({"row": row, "change": change, **measured(target, row), "study": own})
    found = {"seeds": [0], "trials": trials}
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
