"""Run the study with several seeds, and its ablations: means, spreads and gains in points.

    python benchmarks/study.py                        # seeds 0 1 2 of params.yaml, then ablations
    python benchmarks/study.py --seeds 0 --only table --overlay configs/tiny.yaml
    python benchmarks/study.py --only margin tca --seeds 0 1 2 3 4 5

Every row has the budget that params.yaml gives it. An ablation is a study too: two rows of each of
its methods, which name two entries of ``task``. Studies run in a folder of their own
(``--directory``), so params.yaml and runs/ stay as they are; running the script again runs nothing
that is done, and more seeds run only those. The seed of the built-in videos (data.synthetic.seed)
is another one and stays the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from videossl.report.layout import METHOD_TITLES
from videossl.study import graph as stages
from videossl.study import overlay as overlays
from videossl.study import params

ROOT = Path(__file__).resolve().parents[1]
PRIMARY = {"recognition": "top1", "linear": "top1", "knn": "top1", "retrieval": "R@1"}
RHO = ("rho_moco", "rho_byol", "rho_simclr", "rho_swav")
SIDES = ("without", "with")


@dataclass(frozen=True)
class Ablation:
    """Two values of an entry of ``task``, and what rows with them are looked at by."""

    name: str
    methods: tuple[str, ...]
    task: str
    values: tuple[Any, Any]  # without, with: an entry, or keys of it that differ from params.yaml
    measure: str = "linear"  # the linear probe's top-1, or a column of metrics.json of pretrain
    under: Mapping[str, Any] = field(default_factory=dict)  # what else is changed, in both


ABLATIONS = (
    # an instant is told by what its light did: two crops of it need not look at the motion
    Ablation(
        *("rho-flicker", RHO, "rho", (1, 2)),
        under={"data": {"synthetic": {"flicker": 0.3}}},
    ),
    Ablation("margin", ("rspnet",), "margin", (0.0, 0.15), "speed_accuracy"),
    Ablation("tca", ("vtdl",), "tca", ({"alpha": 0.0}, {})),
    Ablation(
        "motion-pathway",
        ("modist",),
        "distillation",
        ({"motion_weight": 0.0, "cross_weight": 0.0}, {}),
    ),
    Ablation("rho-steady", RHO, "rho", (1, 2)),
)


def title(row: str) -> str:
    """A row as tables of docs name it: the method as the field writes it."""
    return METHOD_TITLES.get(row, row)


def run(directory: Path, changes: list[dict[str, Any]], overlaid: Sequence[Path]) -> Path:
    """Run one study to its end; returns its params.yaml."""
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / "params.yaml"
    shutil.copy(ROOT / "params.yaml", target)
    for overlay in overlaid:
        overlays.configure(overlay, target)
    for change in changes:
        part = directory / "change.yaml"
        with part.open("w") as file:
            params.yaml().dump(change, file)
        overlays.configure(part, target)
    command = ["snakemake", "--cores", "all", "--snakefile", str(ROOT / "Snakefile")]
    begin = time.monotonic()
    command += ["--directory", str(directory)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return target


def results(target: Path) -> pd.DataFrame:
    """Primary metrics in per cent, means over splits: a line per row, test, protocol and seed."""
    found = pd.read_csv(target.parent / "runs/report/results.csv")
    found = found[found["metric"] == found["protocol"].map(PRIMARY)]
    keys = ["form", "test", "protocol", "row", "seed"]
    by_seed = found.groupby(keys, sort=False)["value"].mean() * 100
    return by_seed.reset_index()


def table(target: Path) -> pd.DataFrame:
    """A line per row: mean over seeds, standard deviation, gain over its backbone's baseline."""
    study = params.load(target)
    baseline = {entry.backbone: name for name, entry in reversed(study.baselines.items())}
    of = {name: baseline.get(entry.backbone) for name, entry in study.methods.items()}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for (_, test, protocol), group in results(target).groupby(
        ["form", "test", "protocol"], sort=False
    ):
        by_seed = group.pivot(index="seed", columns="row", values="value")
        for row in group["row"].unique():
            found = by_seed[row]
            cell = f"{found.mean():.1f} ± {found.std():.1f}"
            if of.get(row) is not None:
                cell += f" ({(found - by_seed[of[row]]).mean():+.1f})"
            line = rows.setdefault((test, row), {"test": test, "row": row})
            line[f"{protocol} {PRIMARY[protocol]}"] = cell
    return pd.DataFrame(list(rows.values())).fillna("–")


def values(found: pd.DataFrame, test: str) -> dict[str, dict[str, list[float]]]:
    """Row -> protocol -> the per cent of each seed, of one test of ``results``."""
    rows: dict[str, dict[str, list[float]]] = {}
    for (protocol, row), own in found[found["test"] == test].groupby(
        ["protocol", "row"], sort=False
    ):
        rows.setdefault(row, {})[protocol] = own.sort_values("seed")["value"].tolist()
    return rows


def cell(own: Sequence[float], baseline: Sequence[float] = ()) -> str:
    """Mean over seeds and deviation; in brackets points over the baseline, seed by seed."""
    array = np.array(own)
    text = f"{array.mean():.1f}" + (f" ± {array.std(ddof=1):.1f}" if len(array) > 1 else "")
    return text + (f" ({(array - np.array(baseline)).mean():+.1f})" if len(baseline) else "")


def markdown(frame: pd.DataFrame) -> str:
    """The rows, all of them texts, as a table of Markdown."""
    head = [list(frame.columns), ["---"] * len(frame.columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *frame.to_numpy()])


def ablated(ablation: Ablation, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The change of the study ``raw`` that leaves two rows of each method, and the linear probe."""
    entry = raw["task"][ablation.task]
    tasks: dict[str, Any] = {}
    rows: dict[str, Any] = dict.fromkeys(raw["methods"])
    for side, value in zip(SIDES, ablation.values, strict=True):
        name = f"{ablation.task}_{side}"
        tasks[name] = {**deepcopy(entry), **value} if isinstance(value, Mapping) else value
        for method in ablation.methods:
            rows[f"{method}_{side}"] = {**deepcopy(raw["methods"][method]), "task": name}
    kept = {"data", "labels", "splits", "clip", "features", "linear"}
    return {
        "task": tasks,
        "methods": rows,
        "finetune": dict.fromkeys(raw["finetune"]),
        "probe": {
            test: dict.fromkeys(key for key in block if key not in kept)
            for test, block in raw["probe"].items()
        },
    }


def measured(target: Path, row: str, measure: str) -> pd.Series[float]:
    """What a row is looked at by, in per cent, by seed."""
    if measure == "linear":
        found = results(target)
        chosen = found[(found["row"] == row) & (found["protocol"] == "linear")]
        return chosen.groupby("seed")["value"].mean()
    graph = stages.load(target)
    values = {}
    for seed in graph.params.seeds:
        node = graph.find("pretrain", {"row": row, "seed": str(seed)})
        path = target.parent / "runs" / graph.path(node) / "metrics.json"
        values[seed] = 100 * float(json.loads(path.read_text())[measure])
    return pd.Series(values)


def ablate(
    ablation: Ablation, directory: Path, seeds: list[int], overlaid: Sequence[Path]
) -> pd.DataFrame:
    """A line per method: what every seed gives on each side, the mean difference, its error."""
    raw = params.read(ROOT / "params.yaml")
    for overlay in overlaid:
        overlays.merge(raw, params.read(overlay))
    changes = [dict(ablation.under), ablated(ablation, raw), {"seeds": seeds}]
    target = run(directory, [change for change in changes if change], overlaid)
    rows = []
    for name in ablation.methods:
        without, with_it = (measured(target, f"{name}_{s}", ablation.measure) for s in SIDES)
        difference = with_it - without
        rows.append(
            {
                "ablation": ablation.name,
                "method": name,
                "measure": ablation.measure,
                "without": " / ".join(f"{x:.1f}" for x in without),
                "with": " / ".join(f"{x:.1f}" for x in with_it),
                "mean difference": f"{difference.mean():+.1f} ± {difference.sem():.1f}",
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--overlay", type=Path, nargs="+", default=[], help="in their order")
    parser.add_argument("--directory", type=Path, default=ROOT / "benchmarks/study")
    parts = ["table", "ablations", *(ablation.name for ablation in ABLATIONS)]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts[:2])
    args = parser.parse_args()
    print(f"{len(args.seeds)} seeds; per cent of test videos; points over the baseline\n")
    if "table" in args.only:
        target = run(args.directory, [{"seeds": args.seeds}], args.overlay)
        print(markdown(table(target)), flush=True)
    for ablation in ABLATIONS:
        if "ablations" in args.only or ablation.name in args.only:
            rows = ablate(ablation, args.directory, args.seeds, args.overlay)
            print(f"\n{markdown(rows)}", flush=True)


if __name__ == "__main__":
    main()
