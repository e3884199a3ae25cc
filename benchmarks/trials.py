"""What was tried on lips to choose the settings of configs/lips.yaml, without its test speakers.

    python benchmarks/trials.py --root TABLE                     # all; three CPU minutes each
    python benchmarks/trials.py --root TABLE --only vtdl sts     # rows
    python benchmarks/trials.py --root TABLE --json benchmarks/results/trials.json

A trial is a row on the videos of ``configs/lips.yaml``, seed 0, under that study's linear probe.
``unseen`` are the two validation speakers, whom neither encoder nor classifier knows. ``left out``
are these and the ten training speakers, two at a time unknown to the classifier; the encoder saw
the ten, without labels. Running the script again runs nothing that is done.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from dataclasses import dataclass, field
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
BUDGET = "trial"
AUGMENTED = {"weak": "short", "strong": "short_strong"}  # as entries of the overlay's pretrain are


@dataclass(frozen=True)
class Trial:
    """A row, its budget, and what else is not as in ``params.yaml``."""

    row: str
    augment: str = "strong"
    frames: int = 8
    epochs: int = 8
    batch: int = 32
    rate: str = "adamw_slower"
    own: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> str:
        """What is not said by the columns, in words."""
        tasks = {name: value for entry in self.task.values() for name, value in entry.items()}
        return ", ".join(f"`{name}` {_said(value)}" for name, value in (self.own | tasks).items())


def _said(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


QUEUE = {"queue": 64}
CONSTANT = {"momentum_schedule": "constant"}
LAGGING = {"momentum": 0.97, **CONSTANT}
TIME = {"sampling": {"ratios": [1.0], "sides": ["none"]}}
FAR = {"queue": 64, "speeds": [1, 3]}
FAR_LESS = {**FAR, "appearance_weight": 0.3}


def ordered(stride: int) -> dict[str, Any]:
    """Frames in order told without the original, ``stride`` frames between them."""
    return {"order": {"reference": "none", "stride": stride}}


TRIALS: tuple[Trial, ...] = (
    Trial("rspnet", frames=4, own=QUEUE),
    Trial("rspnet", "weak", frames=4, epochs=16, own=QUEUE),
    Trial("rspnet", frames=4, epochs=16, own=QUEUE),
    Trial("rspnet", frames=4, epochs=32, own=QUEUE),
    Trial("rspnet", frames=3, epochs=16, own=FAR),
    Trial("rspnet", frames=3, epochs=24, own=FAR_LESS),
    Trial("rspnet", frames=3, epochs=24, batch=16, own=FAR_LESS),
    Trial("rho_byol", batch=16, rate="adamw", own=LAGGING),
    Trial("rho_byol", epochs=16, batch=16, rate="adamw", own=LAGGING),
    Trial("rho_byol", own=CONSTANT),
    Trial("rho_simclr"),
    Trial("rho_swav", rate="adamw_higher", epochs=16),
    Trial("rho_swav", rate="adamw"),
    Trial("hdc", rate="adamw"),
    Trial("hdc", "weak", rate="adamw"),
    Trial("sts", own={}, task={"statistics": {"appearance_weight": 0.0}}),
    Trial("sts", "weak"),
    Trial("sts", "weak", epochs=16, batch=16),
    Trial("sts", epochs=24, batch=16),
    Trial("order_geometry", rate="adamw_clipped"),
    Trial("order_geometry", "weak", epochs=16, batch=16),
    Trial("order_geometry", epochs=16, batch=16, own={"transform_weight": 0.2}, task=ordered(3)),
    Trial("v3s", task=TIME),
    Trial("v3s", frames=4, batch=16, task=TIME),
    Trial("v3s", "weak", frames=4, epochs=16, batch=16, task=TIME),
    Trial("v3s", frames=4, epochs=16, batch=16, task=TIME),
    Trial("modist", own=QUEUE),
    Trial("modist", "weak", own=QUEUE),
    Trial("modist", frames=4, epochs=16, own=QUEUE),
    Trial("modist", "weak", epochs=16, own=QUEUE, task={"distillation": {"visual_weight": 0.0}}),
    Trial(
        *("modist", "weak"),
        epochs=16,
        batch=16,
        own=QUEUE,
        task={"distillation": {"visual_weight": 0.3}},
    ),
)


def rate(trial: Trial, raw: dict[str, Any]) -> str:
    """The peak learning rate of the optimizer that a trial names: 1e-3, say."""
    return f"{raw['optimizer'][trial.rate]['lr']:.0e}".replace("e-0", "e-")


def changes(trial: Trial | None, raw: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    """What of the study ``raw``, with the overlay, changes; without a trial no row is left."""
    protocols = ("knn", "retrieval")
    found: dict[str, Any] = {
        "seeds": [0],
        "data": {TEST: {"root": str(root)}},
        "finetune": dict.fromkeys(raw["finetune"]),
        "probe": {TEST: dict.fromkeys(protocols)},
        "methods": dict.fromkeys(raw["methods"]),
    }
    if trial is None:
        return [found]
    # the row and its task as params.yaml has them: the overlay's are what the trials led to
    plain = params.read(study.ROOT / "params.yaml")
    row = {**plain["methods"][trial.row], "data": TEST, "optimizer": trial.rate, "pretrain": BUDGET}
    task = deepcopy(plain["task"])
    task["rho"], task["sampling"]["rates"] = 1, [1, 2]
    if trial.row == "vtdl":
        row["least_gap"] = -4
    for name, entry in trial.task.items():
        task[name].update(entry)
    budget = deepcopy(raw["pretrain"][AUGMENTED[trial.augment]])
    budget["clip"]["frames"] = trial.frames
    budget |= {"epochs": trial.epochs, "batch_size": trial.batch}
    found["methods"] |= {trial.row: {**row, **trial.own}}
    return [{**found, "pretrain": {BUDGET: budget}, "task": task}]


def measured(target: Path, row: str) -> dict[str, float]:
    """Per cent of the unseen speakers, and of all that are left out in turn."""
    planned = stages.load(target)
    runs, spec = target.parent / "runs", planned.params.probe[TEST].linear
    assert spec is not None
    found = examples.read(runs / planned.path(instance("select", "probe", TEST)))
    node = planned.find("embed", {"row": row, "test": TEST, "seed": "0"})
    features = np.load(runs / planned.path(node) / "features.npy")
    train, validation = (found.part(1, part) for part in ("train", "val"))
    right = speakers.right(features, found, (train, validation), spec)
    known = np.concatenate([train, validation])
    return {
        "unseen": 100 * right / len(validation),
        "left out": speakers.left_out(features, found, known, "speaker", spec),
    }


def table(found: dict[str, Any]) -> str:
    """A line per trial; in brackets points over random weights."""
    heads = ["", "augmentation", "frames", "epochs", "batch", "rate", "else"]
    lines = [f"| {' | '.join([*heads, 'unseen', 'left out'])} |", f"|{'---|' * 7}---:|---:|"]
    base = found["scratch"]
    lines.append(f"| random weights |{' |' * 6} {base['unseen']:.1f} | {base['left out']:.1f} |")
    for one in found["trials"]:
        cells = [study.title(one["row"]), *(str(cell) for cell in one["settings"])]
        for name in ("unseen", "left out"):
            cells.append(f"{one[name]:.1f} ({one[name] - base[name]:+.1f})")
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
    raw = params.read(study.ROOT / "params.yaml")
    overlays.merge(raw, params.read(OVERLAY))

    def run(trial: Trial | None) -> Path:
        return study.run(args.directory, changes(trial, raw, args.root.resolve()), [OVERLAY])

    found: dict[str, Any] = {SCRATCH: measured(run(None), SCRATCH), "trials": []}
    for trial in TRIALS:
        if args.only and trial.row not in args.only:
            continue
        shown = [trial.augment, trial.frames, trial.epochs, trial.batch]
        said = {"settings": [*shown, rate(trial, raw), trial.settings()]}
        found["trials"].append({"row": trial.row, **said, **measured(run(trial), trial.row)})
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
