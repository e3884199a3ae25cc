"""What ``videossl status`` tells of jobs that wait in SLURM's queue, run, fail and are done.

And what Snakemake says of the one that fails.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

from support.cluster import DEADLINE, NEEDS_SLURM, jobs, place_of, said, start, state_of, until
from support.study import Study

pytestmark = NEEDS_SLURM
STATES = ("DONE", "RUNNING", "FAILED", "STOPPED", "WAITING")


def told(study: Study) -> str:
    return study.run("videossl", "status").stdout


def counts(shown: str, stage: str) -> dict[str, int]:
    """How many instances of a stage are in which state; the columns are as wide as their heads."""
    lines = shown.splitlines()
    (head,) = [line for line in lines if line.startswith("STAGE")]
    row = next(line for line in lines if re.match(rf"{stage} ", line))
    places = {state: head.index(state) for state in STATES}
    found = {state: row[at : at + len(state)].strip() for state, at in places.items()}
    return {state: int(number) for state, number in found.items() if number}


def row(shown: str, head: str, name: str) -> list[str]:
    """The words of an instance's line below ``head``; none if it has no line there."""
    _, _, below = shown.partition(f"\n{head} ")
    table = below.split("\n\n")[0]
    return next((line.split() for line in table.splitlines() if line.startswith(name)), [])


def test_status_tells_of_jobs_that_wait_run_fail_and_are_done(longer, urgent):
    study, place, _ = longer
    training, failing = "pretrain/rspnet/seed-0", "embed/scratch/synthetic/seed-0"
    embedded = place_of(study, failing)
    shutil.rmtree(study.root / "runs" / embedded)
    shutil.rmtree(study.root / "results")  # what DVC has counts as done
    shutil.rmtree(study.root / "scratch")  # what was begun is stopped
    (examples,) = study.root.glob("runs/select/probe/synthetic/*/examples.json")
    data = examples.read_bytes()
    examples.unlink()  # DVC's cache has the same file
    examples.write_bytes(data[:-2])

    other = urgent()
    until(lambda: state_of(other) == "RUNNING", "the node was not taken")
    running = start(study, Path("runs") / place, Path("runs") / embedded)
    until(lambda: len(jobs(study, "PD")) == 2, "no job waits in the queue")
    shown = told(study)
    assert "nothing runs" in shown
    assert "2 in SLURM's queue" in shown
    assert counts(shown, "pretrain") == {"WAITING": 2}  # the other one is not asked for
    assert counts(shown, "embed")["WAITING"] == 3
    assert "MAY WAIT FOR EVER" not in shown

    subprocess.run(["scancel", other], check=True)
    until(lambda: row(told(study), "RUNNING", training), "it does not run")
    until(lambda: re.search(r"\d+/\d+", " ".join(row(told(study), "RUNNING", training))), "no step")
    shown = told(study)
    assert counts(shown, "pretrain") == {"RUNNING": 1, "WAITING": 1}
    assert socket.gethostname() in row(shown, "RUNNING", training)

    assert running.wait(DEADLINE) == 1
    assert "error: " in said(study)
    assert "examples.json: damaged" in said(study)
    shown = told(study)
    assert counts(shown, "pretrain") == {"DONE": 1, "WAITING": 1}
    assert counts(shown, "embed") == {"FAILED": 1, "WAITING": 2}
    assert "examples.json" in " ".join(row(shown, "FAILED", failing))
