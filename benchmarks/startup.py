"""Seconds from the start of a process to a row's first pretraining step, and to ``--help``.

    python benchmarks/startup.py --study DIR      # a folder where Snakemake has run (make)

A line per row of methods: the median and the largest of some starts, one after the other. The
process ends where its first step would begin, so no output is made; an empty folder may stay in
``scratch/``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from videossl.cli import main as videossl
from videossl.study import graph as stages
from videossl.study.launch import command as arguments

END = 3  # exit status of a process that came to its first step


def until_the_first_step(arguments: list[str]) -> None:
    """Run the command line; leave at the first step."""
    from videossl.train.pretrain import Pretraining

    def leave(*_: Any) -> None:
        os._exit(END)

    Pretraining.step = leave  # type: ignore[assignment]
    sys.exit(videossl(arguments))


def seconds(command: list[str], study: Path, status: int) -> float:
    """How long a command takes."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=study, capture_output=True, text=True)
    if done.returncode != status:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return time.perf_counter() - begin


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["pretrain"]:
        until_the_first_step(sys.argv[1:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--study", type=Path, default=Path())
    parser.add_argument("--starts", type=int, default=5)
    args = parser.parse_args()
    graph = stages.load(args.study / "params.yaml")
    print("| process | median, s | largest, s |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        commands = {"videossl pretrain --help": (["-m", "videossl", "pretrain", "--help"], 0)}
        seed = str(graph.params.seeds[0])
        for row in graph.params.methods:
            node = graph.find("pretrain", {"row": row, "seed": seed})
            inputs = {
                role: [(args.study / "runs" / graph.path(needed)).resolve() for needed in nodes]
                for role, nodes in graph.needs(node).items()
            }
            words = arguments(node, inputs, Path(folder, "out"), threads=1)
            commands[row] = ([str(Path(__file__).resolve()), *words], END)
        for name, (words, status) in commands.items():
            times = [
                seconds([sys.executable, *words], args.study, status) for _ in range(args.starts)
            ]
            print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
