"""How much faster two ranks train than one process, on the same batches, on the CPU.

    python benchmarks/ranks.py                         # RSPNet, three rounds in turns: ten minutes
    python benchmarks/ranks.py --method hdc --json benchmarks/results/ranks.json

The stages ``prepare``, ``decode`` and ``pretrain`` run as a study runs them, at the size of
``configs/larger.yaml``; videos a second are those of ``speed.tsv``, the median over epochs but the
first. A rank computes in one thread. Beside it a thread prepares the next batch and a process reads
the one after, so two ranks want more than two cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import figures_file
import pandas as pd

from videossl.study import execution, params
from videossl.study import graph as stages
from videossl.study import overlay as overlays
from videossl.study.launch import command
from videossl.study.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
TWO = "two"  # the budget, and the row, of two ranks


def declared(target: Path, method: str, epochs: int) -> None:
    """A study of one method in two rows that differ in the number of their processes."""
    shutil.copy(ROOT / "params.yaml", target)
    overlays.configure(ROOT / "configs" / "larger.yaml", target)
    budget = {**deepcopy(params.read(target)["pretrain"]["short"]), "epochs": epochs}
    row = deepcopy(params.read(target)["methods"][method])
    change: dict[str, Any] = {
        "pretrain": {"short": {"epochs": epochs}, TWO: {**budget, "gpus": 2}},
        "methods": {
            **{name: None for name in METHODS if name != method},
            TWO: {**row, "pretrain": TWO},
        },
    }
    part = target.with_name("change.yaml")
    with part.open("w") as file:
        params.yaml().dump(change, file)
    overlays.configure(part, target)


def videos_per_second(study: Path, method: str, rounds: int) -> dict[str, list[float]]:
    """Of one process and of two ranks, in turns."""
    graph = stages.load(study / "params.yaml")
    runs = study / "runs"

    def run(node: Any, out: Path) -> None:
        inputs = execution.inputs_below(graph, node, runs)
        words = command(node, inputs, out, threads=1)
        subprocess.run(
            [sys.executable, "-m", "videossl", *words],
            cwd=study,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )

    rows = {}
    for node in graph.instances:
        key = dict(node.key)
        if node.stage == "pretrain":
            rows[key["row"]] = node
        elif node.stage in ("prepare", "decode", "motion"):
            run(node, runs / graph.path(node))
    found: dict[str, list[float]] = {method: [], TWO: []}
    for number in range(rounds):
        for row, rates in found.items():
            out = study / "out" / f"{row}-{number}"
            run(rows[row], out)
            speed = pd.read_csv(out / "speed.tsv", sep="\t")["videos_per_second"]
            rates.append(float(speed.iloc[1:].median()))
            print(f"{row}: {rates[-1]:.1f} videos/s", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, Any]) -> str:
    """One line: videos a second of each, medians over rounds, and their ratio."""
    one, two = (statistics.median(found[name]) for name in ("one", "two"))
    ratios = sorted(b / a for a, b in zip(found["one"], found["two"], strict=True))
    head = "| row | one process, videos/s | two ranks | two / one | between | cores |"
    line = f"| {found['method']} | {one:.1f} | {two:.1f} | {two / one:.2f} | {ratios[0]:.2f} to "
    line += f"{ratios[-1]:.2f} | {found['cores']} |"
    return "\n".join([head, "|---|---:|---:|---:|---:|---:|", line])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--method", default="rspnet", choices=sorted(METHODS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder).resolve()
        declared(study / "params.yaml", args.method, args.epochs)
        rates = videos_per_second(study, args.method, args.rounds)
    cores = len(os.sched_getaffinity(0))
    found = {"method": args.method, "cores": cores, "one": rates[args.method], "two": rates[TWO]}
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
