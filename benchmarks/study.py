"""Run the study with several seeds, and its ablations: means, spreads and gains in points.

    python benchmarks/study.py                        # seeds 0 1 2 of params.yaml, then ablations
    python benchmarks/study.py --seeds 0 --only table --overlay configs/tiny.yaml
    python benchmarks/study.py --only margin tca --seeds 0 1 2 3 4 5

Every method has the same budget: ``pretrain`` of params.yaml. Studies run in a folder of their own
(``--directory``), so params.yaml and runs/ stay as they are; stages that do not read the seed run
once, and running the script again runs nothing that is done. The seed of the built-in videos
(data.synthetic.seed) is another one and stays the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from videossl.study import graph as stages
from videossl.study import params

ROOT = Path(__file__).resolve().parents[1]
PRIMARY = {"recognition": "top1", "linear": "top1", "knn": "top1", "retrieval": "R@1"}
RHO = ("rho_moco", "rho_byol", "rho_simclr", "rho_swav")


@dataclass(frozen=True)
class Ablation:
    """One change to a study, and what of some methods it is looked at by."""

    name: str
    methods: tuple[str, ...]
    key: str
    values: tuple[Any, ...]  # without, with; None is as params.yaml has it
    measure: str = "linear"  # the linear probe's top-1, or a column of metrics.json of pretrain
    under: Mapping[str, Any] = field(default_factory=dict)  # what else is changed, in both


ABLATIONS = (
    # an instant is told by what its light did: two crops of it need not look at the motion
    Ablation(
        *("rho-flicker", RHO, "task.rho", (1, 2)),
        under={"data": {"synthetic": {"flicker": 0.3}}},
    ),
    Ablation("margin", ("rspnet",), "task.margin", (0.0, 0.15), "speed_accuracy"),
    Ablation("tca", ("vtdl",), "task.tca.alpha", (0.0, None)),
    Ablation(
        "motion-pathway",
        ("modist",),
        "task.distillation",
        ({"motion_weight": 0.0, "cross_weight": 0.0}, None),
    ),
    Ablation("rho-steady", RHO, "task.rho", (1, 2)),
)


def run(directory: Path, changes: list[dict[str, Any]], overlay: Path | None) -> Path:
    """Run one study to its end; returns its params.yaml."""
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / "params.yaml"
    shutil.copy(ROOT / "params.yaml", target)
    if overlay is not None:
        overlay.configure(overlay, target)
    for change in changes:
        part = directory / "change.yaml"
        with part.open("w") as file:
            params.yaml().dump(change, file)
        overlay.configure(part, target)
    command = ["snakemake", "--cores", "all", "--snakefile", str(ROOT / "Snakefile")]
    begin = time.monotonic()
    command += ["--directory", str(directory)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    print(f"{changes}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return target


def nested(key: str, value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for ``a.b``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def table(results: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """A row per method: mean over seeds, standard deviation, and mean gain over the baseline."""
    chosen = results[results["metric"] == results["protocol"].map(PRIMARY)]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for (dataset, protocol), group in chosen.groupby(["dataset", "protocol"], sort=False):
        by_seed = group.pivot(index="seed", columns="method", values="value") * 100
        for method in group["method"].unique():
            found = by_seed[method]
            cell = f"{found.mean():.1f} ± {found.std():.1f}"
            if method != baseline:
                cell += f" ({(found - by_seed[baseline]).mean():+.1f})"
            row = rows.setdefault((dataset, method), {"dataset": dataset, "method": method})
            row[f"{protocol} {PRIMARY[protocol]}"] = cell
    return pd.DataFrame(list(rows.values()))


def markdown(frame: pd.DataFrame) -> str:
    """The rows, all of them texts, as a table of Markdown."""
    head = [list(frame.columns), ["---"] * len(frame.columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *frame.to_numpy()])


def only(methods: tuple[str, ...]) -> dict[str, Any]:
    """The change that leaves some methods, and the linear probe alone."""
    whole = params.load(ROOT / "params.yaml")
    others = [name for name in whole.methods.model_fields_set if name not in methods]
    frozen = [name for name in whole.evaluate.frozen.model_fields_set if name != "linear"]
    finetuned = list(whole.evaluate.finetuned.model_fields_set)
    read = {getattr(whole.methods, name).motion for name in methods}
    return {
        "motion": dict.fromkeys(name for name in whole.motion if name not in read),
        "methods": dict.fromkeys(others),
        "evaluate": {"frozen": dict.fromkeys(frozen), "finetuned": dict.fromkeys(finetuned)},
    }


def measured(target: Path, method: str, measure: str) -> float:
    """What an ablation is looked at by, in per cent."""
    if measure == "linear":
        results = json.loads((target.parent / "runs/report/metrics.json").read_text())
        (dataset,) = results[method]
        return 100 * float(results[method][dataset]["linear"]["top1"])
    graph = stages.load(target)
    folder = target.parent / "runs" / graph.path(graph.find("pretrain", {"method": method}))
    return 100 * float(json.loads((folder / "metrics.json").read_text())[measure])


def ablate(
    ablation: Ablation, directory: Path, seeds: list[int], overlay: Path | None
) -> pd.DataFrame:
    """A row per method: what every seed gives with each value, the mean difference, its error."""
    found: dict[str, list[list[float]]] = {name: [] for name in ablation.methods}
    for value in ablation.values:
        change = [dict(ablation.under)]
        change += [] if value is None else [nested(ablation.key, value)]
        for name in ablation.methods:
            found[name].append([])
        for seed in seeds:
            target = run(directory, [*change, only(ablation.methods), {"seed": seed}], overlay)
            for name in ablation.methods:
                found[name][-1].append(measured(target, name, ablation.measure))
    rows = []
    for name, values in found.items():
        without, with_it = (pd.Series(of_seeds) for of_seeds in values)
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
    parser.add_argument("--overlay", type=Path)
    parser.add_argument("--directory", type=Path, default=ROOT / "benchmarks/study")
    parser.add_argument("--baseline", default="scratch")
    parts = ["table", "ablations", *(ablation.name for ablation in ABLATIONS)]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts[:2])
    args = parser.parse_args()
    print(f"{len(args.seeds)} seeds; per cent of test videos; points over {args.baseline}\n")
    if "table" in args.only:
        results = []
        for seed in args.seeds:
            run(args.directory, [{"seed": seed}], args.overlay)
            results.append(pd.read_csv(args.directory / "runs/report/results.csv"))
        print(markdown(table(pd.concat(results), args.baseline)), flush=True)
    for ablation in ABLATIONS:
        if "ablations" in args.only or ablation.name in args.only:
            rows = ablate(ablation, args.directory, args.seeds, args.overlay)
            print(f"\n{markdown(rows)}", flush=True)


if __name__ == "__main__":
    main()
