"""One pretraining killed again and again at random moments: its bits are those of one never killed.

    python benchmarks/kills.py                    # 300 kills; a quarter of an hour on one core
    python benchmarks/kills.py --json benchmarks/results/kills.json

Each start runs a moment drawn at random, from before the first step to beyond the last, and is
killed by SIGKILL. Where a training ends first, its output is compared and removed, and the next
one begins. A failure is a start that ends in an error, a child that is left, other bytes, or a
file that is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures_file
import traced_run
from crash_points import OVERLAY, STAGES, afterwards, digests, make_study, prepare_process

EPOCHS = 12
STARTED = 0.2  # of a start's length, what may pass at least before it is killed: from 0 to all


def main() -> None:
    """Print how many kills came about, and what was wrong after them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    prepare_process()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        base = Path(folder).resolve() / "study"
        budget = f"pretrain:\n  short:\n    epochs: {EPOCHS}\n"
        make_study(base, OVERLAY + budget)
        result = soak(base, args.kills, random.Random(args.seed))
    print(json.dumps(result, indent=1))
    figures_file.write(args.json, result)
    sys.exit(1 if result["failures"] else 0)


def soak(base: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill the pretraining of the study at ``base`` so many times, then let it end."""
    from videossl.study import execution, graph
    from videossl.study.launch import command
    from videossl.study.stages import instance

    planned = graph.load(base / "params.yaml")
    node = instance(*STAGES["pretrain"])
    inputs = execution.inputs_below(planned, node, base / "runs")
    arguments = tuple(command(node, inputs, Path("out", "pretrain"), threads=2))
    folder = base.with_name("killed")
    folder.mkdir()
    shutil.copy(base / "params.yaml", folder)
    out, wanted = folder / "out" / "pretrain", digests(base / "runs" / planned.path(node))

    begin = time.monotonic()
    compared = list(afterwards(traced_run.run(arguments, folder), folder, out, wanted))
    seconds = time.monotonic() - begin
    ends, done, failures = 1, 0, [f"never killed: {text}" for text in compared]
    shutil.rmtree(out)
    while done < kills:
        after = rng.uniform(0, STARTED if rng.random() < 0.5 else 1) * seconds
        status, wrong = killed(arguments, folder, after)
        failures += [f"kill {done + 1} after {after:.3f} s: {text}" for text in wrong]
        done += status == -signal.SIGKILL
        if out.exists():
            failures += [f"end {ends}: {text}" for text in _compare(out, wanted)]
            shutil.rmtree(out)
            ends += 1
    ended = traced_run.run(arguments, folder)
    failures += [f"end {ends}: {text}" for text in afterwards(ended, folder, out, wanted)]
    return {
        "kills": done,
        "trainings": ends + 1,
        "epochs": EPOCHS,
        "seconds_never_killed": round(seconds, 1),
        "failures": failures,
    }


def table(result: dict[str, Any]) -> str:
    """One line."""
    return (
        f"| kills | trainings | epochs of each | failures |\n|---:|---:|---:|---:|\n"
        f"| {result['kills']} | {result['trainings']} | {result['epochs']} "
        f"| {len(result['failures'])} |"
    )


def _compare(out: Path, wanted: dict[str, Any]) -> Iterator[str]:
    if digests(out) != wanted:
        yield "other bytes"


def killed(
    arguments: tuple[str, ...], folder: Path, seconds: float
) -> tuple[int | None, list[str]]:
    """Start once and kill after so long; the exit status, and what is wrong with it."""
    said = folder.with_name("killed.said")
    pid = traced_run.stopped(arguments, folder, said)
    os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _ended(pid):
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    status, left = traced_run.wait(pid)
    wrong = [] if status in (0, -signal.SIGKILL) else [f"{status}: {said.read_text()[-300:]}"]
    return status, [*wrong, *(["a child was left"] if left else [])]


def _ended(pid: int) -> bool:
    """Whether the process is over; its status can still be asked for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


if __name__ == "__main__":
    main()
