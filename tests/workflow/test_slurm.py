"""The profile on a real SLURM: the same numbers, and what clusters do to jobs.

``workflow/cluster/up.sh`` starts one of one node, ``down.sh`` stops it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from support.cluster import (
    DEADLINE,
    NEEDS_SLURM,
    jobs,
    note,
    pretraining,
    run,
    said,
    sha256,
    start,
    timed,
    until,
)

pytestmark = NEEDS_SLURM


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


def test_a_killed_snakemake_starts_again_beside_its_job(longer):
    study, place, expected = longer
    killed = start(study, Path("runs") / place)
    until((study.root / "scratch" / place).exists, "no job runs")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert jobs(study)  # it lives on, and nobody watches it
    with timed("Snakemake is killed: from its next start until its training's job ended"):
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
        begin = time.monotonic()

        def named() -> bool:
            shown = cluster.run("videossl", "status").stdout
            return "MAY WAIT FOR EVER" in shown and "drained" in shown and "pretrain" in shown

        until(named, "status does not name the job")
        until(lambda: "may wait for ever" in said(cluster), "Snakemake does not name it")
        note("the node is drained: from the start until both say so", time.monotonic() - begin)
        assert running.poll() is None
    finally:
        subprocess.run([*node, "state=resume"], check=True)
    assert running.wait(DEADLINE) == 0
    assert sha256(out / "encoder.safetensors") == expected
