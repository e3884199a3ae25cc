"""The profile on a real SLURM: the same numbers, and what clusters do to jobs.

``workflow/cluster/up.sh`` starts one of one node, ``down.sh`` stops it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.study import Study

SNAKEMAKE = ("snakemake", "--cores", "all", "--profile", "slurm")
# waits of the plugin that suit jobs of seconds
SOON = ("--slurm-init-seconds-before-status-checks", "4", "--seconds-between-status-checks", "4")
DEADLINE = 400.0  # seconds: what goes wrong with a cluster is that something waits for ever
LONG = "pretrain:\n  short:\n    epochs: 40\n"


def up() -> bool:
    """Whether there is a SLURM."""
    if shutil.which("sbatch") is None:
        return False
    state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
    return state.returncode == 0 and state.stdout.strip() in ("idle", "mixed", "allocated")


pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not up(), reason="no SLURM runs here (workflow/cluster/up.sh)"),
]


@pytest.fixture
def cluster(tiny: Study) -> Iterator[Study]:
    """The tiny study, made on this machine; jobs that a test leaves are cancelled."""
    yield tiny
    for job in jobs(tiny):
        subprocess.run(["scancel", job], check=False)


def jobs(study: Study) -> list[str]:
    """The study's running jobs."""
    listed = subprocess.run(
        ["squeue", "-h", "-t", "R", "-o", "%i %Z"], capture_output=True, text=True, check=True
    )
    lines = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return [job for job, folder in lines if Path(folder) == study.root]


def run(study: Study, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the verbatim line; it ends, whatever the cluster does."""
    return subprocess.run(
        [*SNAKEMAKE, *SOON, *more], cwd=study.root, env=study.env,
        capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip


def start(study: Study, target: Path) -> subprocess.Popen[bytes]:
    """The same in the background."""
    with (study.root / "slurm.log").open("ab") as log:
        return subprocess.Popen(
            [*SNAKEMAKE, *SOON, str(target)], cwd=study.root, env=study.env,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def pretraining(study: Study) -> Path:
    """Where the encoder of RSPNet goes, and where its state lies until then."""
    for line in study.run("videossl", "check").stdout.splitlines():
        fingerprint, name = line.split()
        if name == "pretrain/rspnet/seed-0":
            return Path("pretrain", "rspnet", "seed-0", fingerprint)
    raise AssertionError("no RSPNet")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def longer(cluster: Study) -> tuple[Study, Path, str]:
    """A pretraining of many steps: the study, its place, and its weights as made here."""
    cluster.overlay(LONG)
    place = pretraining(cluster)
    out = cluster.root / "runs" / place
    cluster.run("snakemake", "--cores", "2", str(out.relative_to(cluster.root)))
    expected = sha256(out / "encoder.safetensors")
    shutil.rmtree(out)
    return cluster, place, expected


def test_a_cluster_gives_the_numbers_of_this_machine(cluster):
    table = cluster.root / "runs/report/results.csv"
    expected = table.read_bytes()
    for stage in ("pretrain", "finetune", "test", "embed", "evaluate"):
        shutil.rmtree(cluster.root / "runs" / stage / "rspnet")
    shutil.rmtree(cluster.root / "runs/aggregate")
    done = run(cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert table.read_bytes() == expected
    again = run(cluster)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_failing_stage_says_why(cluster):
    (manifest,) = cluster.root.glob("runs/decode/synthetic/*/manifest.json")
    data = manifest.read_bytes()
    manifest.unlink()  # the study's files are links to those of other tests
    manifest.write_bytes(data[:-2])
    place = pretraining(cluster)
    shutil.rmtree(cluster.root / "runs" / place)
    done = run(cluster, str(Path("runs") / place))
    assert done.returncode == 1
    assert "error: " in done.stdout + done.stderr
    assert "manifest.json: damaged" in done.stdout + done.stderr


def test_a_cancelled_training_is_started_again_and_resumes(longer):
    study, place, expected = longer
    running = start(study, Path("runs") / place)
    until((study.root / "scratch" / place / "checkpoint.pt").exists, "no checkpoint")
    (job,) = jobs(study)
    subprocess.run(["scancel", job], check=True)
    assert running.wait(DEADLINE) == 0
    out = study.root / "runs" / place
    assert sha256(out / "encoder.safetensors") == expected
    assert "resum" in (study.root / "logs" / place).with_suffix(".log").read_text()


def test_a_killed_snakemake_starts_again_beside_its_job(longer):
    study, place, expected = longer
    killed = start(study, Path("runs") / place)
    until((study.root / "scratch" / place).exists, "no job runs")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert jobs(study)  # it lives on, and nobody watches it
    done = run(study, str(Path("runs") / place))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sha256(study.root / "runs" / place / "encoder.safetensors") == expected
    assert not list((study.root / "runs" / place.parent).glob(".*"))  # no part of either


def test_a_drained_node_is_named_and_the_job_runs_once_it_is_back(cluster):
    place = pretraining(cluster)
    out = cluster.root / "runs" / place
    expected = sha256(out / "encoder.safetensors")
    shutil.rmtree(out)
    node = ["scontrol", "update", f"nodename={socket.gethostname().partition('.')[0]}"]
    subprocess.run([*node, "state=drain", "reason=test"], check=True)
    try:
        running = start(cluster, Path("runs") / place)

        def said() -> bool:
            shown = cluster.run("videossl", "status").stdout
            return "MAY WAIT FOR EVER" in shown and "drained" in shown and "pretrain" in shown

        until(said, "status does not name the job")
        assert running.poll() is None
    finally:
        subprocess.run([*node, "state=resume"], check=True)
    assert running.wait(DEADLINE) == 0
    assert sha256(out / "encoder.safetensors") == expected
