"""The tiny study on a real SLURM of one node, which ``workflow/cluster/up.sh`` starts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.study import ROOT, Study
from videossl.study import graph

SNAKEMAKE = ("snakemake", "--cores", "all", "--profile", "slurm")
# waits of the plugin that suit jobs of seconds
SOON = ("--slurm-init-seconds-before-status-checks", "1")
STARTED: list[subprocess.Popen[bytes]] = []
MARK = Path("/etc/slurm/made-by-videossl")  # of up.sh, with its options
TIMES = "VIDEOSSL_FAULT_TIMES"  # a file that takes what `timed` measures
DEADLINE = 240.0  # seconds: what goes wrong with a cluster is that something waits for ever


def up() -> bool:
    """Whether there is a SLURM."""
    if shutil.which("sbatch") is None:
        return False
    state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
    return state.returncode == 0 and state.stdout.strip() in ("idle", "mixed", "allocated")


@contextmanager
def started_with(**options: str) -> Iterator[None]:
    """In the block this machine's SLURM has other options of up.sh; after it, those that it had."""
    if os.geteuid() != 0 or not MARK.exists():
        pytest.skip("this SLURM is not one that workflow/cluster/up.sh started")
    before = dict(line.split("=", 1) for line in MARK.read_text().splitlines())
    try:
        again = _started_again({**before, **options})
        if again.returncode:
            pytest.skip(again.stderr.strip().splitlines()[-1])
        yield
    finally:
        again = _started_again(before)
        assert again.returncode == 0, again.stderr


def _started_again(options: dict[str, str]) -> subprocess.CompletedProcess[str]:
    scripts = ROOT / "workflow/cluster"
    subprocess.run([scripts / "down.sh"], check=True, capture_output=True)
    return subprocess.run(
        [scripts / "up.sh"], env={**os.environ, **options}, capture_output=True, text=True
    )


NEEDS_SLURM = [
    pytest.mark.slurm,
    pytest.mark.skipif(not up(), reason="no SLURM runs here (workflow/cluster/up.sh)"),
]


def jobs(study: Study, *states: str) -> list[str]:
    """The study's jobs in these states: running ones, if none is given."""
    listed = subprocess.run(
        ["squeue", "-h", "-t", ",".join(states) or "R", "-o", "%i %Z"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return [job for job, folder in lines if Path(folder) == study.root]


def run(study: Study, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the verbatim line; it ends, whatever the cluster does."""
    return subprocess.run(
        [*SNAKEMAKE, *SOON, *more], cwd=study.root, env=study.env,
        capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip


def start(study: Study, *words: str | Path) -> subprocess.Popen[bytes]:
    """The same in the background; what it says goes to ``said``."""
    with (study.root / "slurm.log").open("ab") as log:
        running = subprocess.Popen(
            [*SNAKEMAKE, *SOON, *map(str, words)], cwd=study.root, env=study.env,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    STARTED.append(running)
    return running


def ended() -> None:
    """Kill what ``start`` started and a failed test left."""
    while STARTED:
        running = STARTED.pop()
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def said(study: Study) -> str:
    """What the one in the background said until now."""
    return (study.root / "slurm.log").read_text()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


@contextmanager
def timed(fault: str) -> Iterator[None]:
    """Note how many seconds the block takes, from a fault until something shows.

    benchmarks/slurm_faults.py makes a table of them.
    """
    begin = time.monotonic()
    yield
    note(fault, time.monotonic() - begin)


def note(fault: str, seconds: float) -> None:
    """Write down how long something took, if somebody asked for it, and in which test."""
    if TIMES not in os.environ:
        return
    file = Path(os.environ[TIMES])
    found = json.loads(file.read_text()) if file.exists() else {}
    test = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
    found[fault] = {"seconds": round(seconds, 1), "test": test}
    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def place_of(study: Study, name: str) -> Path:
    """Where the output of an instance goes below ``runs``, and its state below ``scratch``."""
    planned = graph.load(study.root / "params.yaml")
    (place,) = [planned.path(node) for node in planned.instances if str(node) == name]
    return Path(place)


def pretraining(study: Study) -> Path:
    """The place of RSPNet's encoder."""
    return place_of(study, "pretrain/rspnet/seed-0")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def program(study: Study, name: str, script: str) -> None:
    """Put a program in front of the one of that name; ``$real`` is that one."""
    folder = study.root.parent / "bin"
    folder.mkdir(exist_ok=True)
    real = shutil.which(name, path=study.env["PATH"])
    file = folder / name
    file.write_text(f"#!/usr/bin/env bash\nreal={real}\n{script}\n")
    file.chmod(0o755)
    study.env["PATH"] = f"{folder}{os.pathsep}{study.env['PATH']}"


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True, capture_output=True)


def begun(study: Study, place: Path) -> str:
    """The number of the job that trains, once it has something to resume from."""
    until((study.root / "scratch" / place / "checkpoint.pt").exists, "no checkpoint")
    (job,) = jobs(study)
    return job


def removed(study: Study, name: str) -> tuple[Path, str]:
    """Remove an output: its place below the study, and what digest its record had."""
    place = Path("runs") / place_of(study, name)
    digest = sha256(study.root / place / "features.npy")
    shutil.rmtree(study.root / place)
    return place, digest


def limits(study: Study, stage: str = "") -> list[str]:
    """Time and memory of every start of a stage, or of all: see ``noting``."""
    file = study.root / "limits"
    lines = (
        line.split(" ", 1) for line in (file.read_text() if file.exists() else "").splitlines()
    )
    return [rest for name, rest in lines if stage in ("", name)]


def noting(study: Study, first: str) -> None:
    """Have each stage note its job's limits; the first attempt does something else instead."""
    script = f"""
squeue -h -j "$SLURM_JOB_ID" -o "$1 %l %m" >> limits
case " $* " in *" --attempt 1 "*) {first} ;; *) exec "$real" "$@" ;; esac"""
    program(study, "videossl", script)


def submitted(*options: str, seconds: int = 600) -> str:
    """The number of a job of somebody else, which holds what ``options`` ask for."""
    call = ["sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null", *options]
    done = subprocess.run(
        [*call, f"--wrap=exec sleep {seconds}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def state_of(job: str) -> str:
    """What the queue calls a job's state."""
    listed = subprocess.run(
        ["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return listed.stdout.strip()
