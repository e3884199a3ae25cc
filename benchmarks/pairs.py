"""The same stage started twice at once, by one engine and by two: both end well, bytes are right.

python benchmarks/pairs.py --json benchmarks/results/pairs.json
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import figures_file
import traced_run
from crash_points import BASELINE, ROW, STAGES, TEST, digests, make_study, prepare_process

RUNS = {  # stage -> the arguments of DVC's form
    "select": ("select", "probe", TEST),
    "pretrain": ("pretrain", ROW),
    "initialize": ("initialize", BASELINE),
    "embed": ("embed", BASELINE, TEST),
    "evaluate": ("evaluate", BASELINE, TEST),
}


def main() -> None:
    """Print a line per stage and kind of pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=3, help="pairs of each stage and kind")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    prepare_process()
    results = []
    with tempfile.TemporaryDirectory(prefix="pairs-") as folder:
        base = Path(folder).resolve() / "study"
        make_study(base)
        for stage in RUNS:
            for engines in (1, 2):
                wrong = [text for _ in range(args.times) for text in pair(base, stage, engines)]
                results.append(
                    {"stage": stage, "engines": engines, "pairs": args.times, "failures": wrong}
                )
                print(f"{stage}, {engines} engines, {args.times} pairs: {wrong or 'right'}")
    figures_file.write(args.json, results)
    sys.exit(1 if any(result["failures"] for result in results) else 0)


def pair(base: Path, stage: str, engines: int) -> list[str]:
    """Start two, let them go at the same moment; what is wrong afterwards."""
    from videossl.study import execution, graph, grouped
    from videossl.study.launch import command
    from videossl.study.stages import instance

    planned = graph.load(base / "params.yaml")
    node = instance(*STAGES[stage])
    folder = base.with_name("pair")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(base / "params.yaml", folder)
    traced_run.run(("adopt", "--runs", str(base / "runs")), folder)
    inputs = execution.inputs_below(planned, node, base / "runs")
    first = command(node, inputs, Path("runs", planned.path(node)), threads=2)
    tree = [*RUNS[stage], "--tree", "results"]
    place = grouped.place(Path("results"), node)
    shutil.rmtree(folder / "results" / node.group.path)
    outs = {1: [Path("runs", planned.path(node))], 2: [Path("runs", planned.path(node)), place]}
    commands = [first, first if engines == 1 else tree]
    said = [folder.with_name(f"pair.{number}") for number in range(2)]
    pids = [
        traced_run.stopped(arguments, folder, file)
        for arguments, file in zip(commands, said, strict=True)
    ]
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    wanted = digests(base / "runs" / planned.path(node))
    wrong = []
    for pid, file in zip(pids, said, strict=True):
        status, left = traced_run.wait(pid)
        if status or left:
            wrong.append(f"{status}: {file.read_text()[-300:]}")
    wrong += [f"{out}: other bytes" for out in outs[engines] if digests(folder / out) != wanted]
    hidden = [path for path in folder.rglob(".*") if path.name != ".snakemake_timestamp"]
    return [*wrong, *(f"left behind: {path.name}" for path in hidden)]


if __name__ == "__main__":
    main()
