"""What part of a run on a SLURM is the engine's: a study of about a hundred jobs of seconds.

    python benchmarks/slurm_share.py         # where a SLURM runs: workflow/cluster/up.sh starts one
    python benchmarks/slurm_share.py --json benchmarks/results/slurm_share.json

The tiny study, every method, by the line of docs/cluster.md. Each stage's process notes when it
began and ended, and the queue is asked for every job's start and end, which it tells in seconds:

* alone: of the command's wall time, what passes while none of its jobs runs. The engine plans,
  submits or has not noticed yet that a job ended, or SLURM has not started the next;
* engine: what passes while no stage runs. That is the time alone, and what jobs take before
  their stage begins and after it ended;
* inside jobs: of the seconds of all jobs together, those that are not of a stage. It does not
  matter here how many jobs run at a time;
* CPU seconds of the command itself and of what it called, over its wall time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import figures_file
import planning

COMMAND = ("snakemake", "--cores", "all", "--profile", "slurm")
ASKED = 20.0  # seconds between two looks at the queue; it knows a job for minutes after its end
MINUTES = 10  # of a job, for which the share is computed too

Span = tuple[float, float]  # begin and end, in seconds since the epoch

NOTING = """#!/usr/bin/env bash
begin=$EPOCHREALTIME
"{real}" "$@"
status=$?
[ -z "$SLURM_JOB_ID" ] || echo "$SLURM_JOB_ID $begin $EPOCHREALTIME" >>"{file}"
exit $status
"""


def covered(spans: Iterable[Span]) -> float:
    """Seconds in which at least one of the spans goes on."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def shares(wall: float, cpu: float, jobs: Sequence[Span], stages: Sequence[Span]) -> dict[str, Any]:
    """The figures of a run: its wall time, CPU seconds of the command, and when what went on."""
    held = sum(end - begin for begin, end in jobs)
    worked = sum(end - begin for begin, end in stages)
    beside = max(0.0, held - worked) / len(jobs)
    return {
        "jobs": len(jobs),
        "wall_seconds": round(wall, 1),
        "job_seconds": round(held / len(jobs), 2),
        "stage_seconds": round(worked / len(stages), 2),
        "alone": round(1 - covered(jobs) / wall, 4),
        "engine": round(1 - covered(stages) / wall, 4),
        "inside_jobs": round(beside * len(jobs) / held, 4),
        "inside_long_jobs": round(beside / (beside + 60 * MINUTES), 5),
        "command_cpu_seconds": round(cpu, 1),
        "command_cpu": round(cpu / wall, 4),
    }


def make_study(folder: Path) -> None:
    """The tiny study in a repository of its own, nothing run yet."""
    planning.copy(folder)
    overlay = planning.ROOT / "configs/tiny.yaml"
    subprocess.run(["videossl", "configure", str(overlay)], cwd=folder, check=True)


def noting(folder: Path, file: Path) -> dict[str, str]:
    """An environment whose ``videossl`` notes in ``file`` when it begins and ends in a job."""
    real = shutil.which("videossl")
    folder.mkdir()
    program = folder / "videossl"
    program.write_text(NOTING.format(real=real, file=file), encoding="utf-8")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def queue(study: Path) -> dict[str, Span]:
    """Job -> when it began and ended, of the study's jobs that ended and the queue still knows."""
    command = ["squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%S|%e|%Z"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {}
    for line in said.stdout.splitlines():
        job, state, begin, end, folder = line.split("|", 4)
        ended = state in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY")
        if ended and Path(folder) == study:
            found[job] = (moment(begin), moment(end))
    return found


def moment(text: str) -> float:
    """Seconds since the epoch of what SLURM writes as local time."""
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def spans(file: Path) -> list[Span]:
    """What the stages noted."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return [(float(begin), float(end)) for _, begin, end in lines]


def measured(base: Path, more: Sequence[str]) -> dict[str, Any]:
    """Run the study below ``base`` once."""
    study, file = base / "study", base / "spans"
    make_study(study)
    environment = noting(base / "bin", file)
    jobs: dict[str, Span] = {}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (base / "said").open("wb") as said:
        running = subprocess.Popen(
            [*COMMAND, *more], cwd=study, env=environment, stdout=said, stderr=said
        )
        while running.poll() is None:
            try:
                running.wait(ASKED)
            except subprocess.TimeoutExpired:
                jobs |= queue(study)
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # with some squeue of ours: little
    if running.returncode:
        sys.exit((base / "said").read_text(encoding="utf-8")[-3000:])
    time.sleep(1)  # until the last job is no longer completing
    jobs |= queue(study)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return shares(wall, cpu, list(jobs.values()), spans(file))


def table(found: dict[str, Any]) -> str:
    """One line."""
    cells = {
        "jobs": f"{found['jobs']}",
        "wall time": f"{found['wall_seconds']:.0f} s",
        "a stage takes": f"{found['stage_seconds']:.1f} s",
        "its job takes": f"{found['job_seconds']:.1f} s",
        "no job runs": f"{found['alone']:.0%}",
        "no stage runs": f"{found['engine']:.0%}",
        "inside jobs": f"{found['inside_jobs']:.0%}",
        f"the same, stages of {MINUTES} minutes": f"{found['inside_long_jobs']:.1%}",
        "CPU of the command": f"{found['command_cpu']:.0%}",
    }
    heads, values = " | ".join(cells), " | ".join(cells.values())
    return f"| {heads} |\n|{'---:|' * len(cells)}\n| {values} |"


def main() -> None:
    """Print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--more", nargs="*", default=[], help="words for the end of the line")
    args = parser.parse_args()
    if shutil.which("sbatch") is None:
        sys.exit("slurm_share.py: no SLURM here (workflow/cluster/up.sh)")
    with tempfile.TemporaryDirectory(prefix="slurm-share-") as folder:
        found = measured(Path(folder).resolve(), args.more)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
