"""Seconds from the start of a process to a method's first pretraining step, and to ``--help``.

    python benchmarks/startup.py --study DIR      # a folder where Snakemake has run (make)

A row per method: the median and the largest of some starts, one after the other. The process ends
where its first step would begin, so no output is made; an empty folder may stay in ``scratch/``.
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
from videossl.study import params

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
        for name in params.dump(graph.params.methods):
            command = [
                str(Path(__file__).resolve()),
                "pretrain",
                name,
                "--out",
                f"{folder}/out",
                "--threads",
                "1",
            ]
            for role, nodes in graph.needs(graph.find("pretrain", {"method": name})).items():
                paths = [str((args.study / "runs" / graph.path(n)).resolve()) for n in nodes]
                if paths:
                    command += [f"--{role}", *paths]
            commands[name] = (command, END)
        for name, (command, status) in commands.items():
            times = [
                seconds([sys.executable, *command], args.study, status) for _ in range(args.starts)
            ]
            print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
