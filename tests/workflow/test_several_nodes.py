"""``pretrain.<budget>.nodes`` starts a process on each node of a SLURM job; nodes are pretended.

A script stands for ``srun``: it starts the command so many times on this machine and waits for
all, as ``srun --kill-on-bad-exit`` does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.study import Study
from videossl.cli import EXIT_AGAIN

SRUN = f"""#!{sys.executable}
import signal, subprocess, sys
count = int(sys.argv[sys.argv.index("--ntasks") + 1])
command = sys.argv[sys.argv.index("1") + 1:]
runs = [subprocess.Popen(command) for _ in range(count)]
signal.signal(signal.SIGTERM, lambda *_: [run.terminate() for run in runs])
codes = []
for run in runs:
    codes.append(run.wait())
    if codes[-1]:
        [other.terminate() for other in runs]
sys.exit(max(map(abs, codes)))
"""
OVERLAY = {"pretrain": {"short": {"nodes": 2, "gpus": 1}}}
PRETRAIN = ("videossl", "pretrain", "rspnet", "--seed", "0", "--shards", "stored", "--out")


@pytest.fixture
def pretended(study: Study, tmp_path: Path) -> dict[str, str]:
    """The environment of a job of two nodes, which both are this machine."""
    script = tmp_path / "bin" / "srun"
    script.parent.mkdir()
    script.write_text(SRUN)
    script.chmod(0o755)
    study.shrink(["rspnet"])
    study.run("videossl", "prepare", "synthetic", "--out", "made")
    study.run("videossl", "decode", "synthetic", "--videos", "made", "--out", "stored")
    path = f"{script.parent}{os.pathsep}{study.env['PATH']}"
    return {**study.env, "PATH": path, "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7"}


@pytest.mark.slow
def test_two_nodes_give_the_weights_of_two_ranks(study: Study, pretended: dict[str, str]) -> None:
    study.overlay(json.dumps({"pretrain": {"short": {"gpus": 2}}}))
    study.run(*PRETRAIN, "ranks")
    study.overlay(json.dumps(OVERLAY))
    study.env = pretended
    study.run(*PRETRAIN, "nodes")
    for name in ("encoder.safetensors", "batch.npz"):
        ranks, nodes = ((study.root / out / name).read_bytes() for out in ("ranks", "nodes"))
        assert ranks == nodes, name
    assert not list((study.root / "scratch").rglob("checkpoint.pt"))


@pytest.mark.slow
def test_nodes_that_alone_are_asked_to_stop_save_and_go_on(
    study: Study, pretended: dict[str, str]
) -> None:
    """As of a signal that SLURM sends to the steps of a job."""
    overlay = OVERLAY["pretrain"]["short"] | {"epochs": 15}
    study.overlay(json.dumps({"pretrain": {"short": overlay}}))
    study.env = {**pretended, "VIDEOSSL_CHECKPOINT_SECONDS": "0.2"}
    study.run(*PRETRAIN, "whole")
    with subprocess.Popen([*PRETRAIN, "cut"], cwd=study.root, env=study.env) as run:
        while not list((study.root / "scratch").rglob("checkpoint.pt")):
            assert run.poll() is None
            time.sleep(0.05)
        (srun,) = children(run.pid)
        for node in children(srun):
            os.kill(node, signal.SIGTERM)
    assert run.returncode == EXIT_AGAIN
    assert not list((study.root / "scratch").glob("failed/*"))
    assert "resumes at step" in study.run(*PRETRAIN, "cut").stdout
    for name in ("encoder.safetensors", "batch.npz"):
        whole, cut = ((study.root / out / name).read_bytes() for out in ("whole", "cut"))
        assert whole == cut, name


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_an_error_on_a_node_ends_the_stage(study: Study, pretended: dict[str, str]) -> None:
    queue = {"methods": {"rspnet": {"queue": 64}}, "pretrain": {"short": {"batch_size": 64}}}
    study.overlay(json.dumps(OVERLAY))
    study.overlay(json.dumps(queue))
    study.env = pretended
    done = study.run(*PRETRAIN, "out", check=False)
    assert done.returncode == 2
    assert "has only 48 training videos in split 1" in done.stderr
    assert "one of 2 nodes failed" in done.stderr
    again = study.run(*PRETRAIN, "out", "--attempt", "2", check=False)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "has only 48 training videos in split 1" in again.stderr
    assert not (study.root / "out").exists()


def test_without_such_a_job_it_is_one_line(study: Study) -> None:
    study.shrink(["rspnet"])
    study.overlay(json.dumps(OVERLAY))
    (study.root / "stored").mkdir()
    done = study.run(*PRETRAIN, "out", check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: pretrain\.short\.nodes = 2: needs a SLURM job of 2 nodes, and this is no SLURM "
        r"job\n",
        done.stderr,
    )


def test_a_job_of_several_nodes_asks_for_them(study: Study) -> None:
    study.shrink(["rspnet"])
    study.overlay(json.dumps({"pretrain": {"short": {"nodes": 2, "gpus": 2, "batch_size": 8}}}))
    planned = study.run("snakemake", "-n", "--cores", "8", "--resources", "gpu=64").stdout
    jobs = planned.split("rule ")
    (job,) = (part for part in jobs if part.startswith("pretrain:"))
    asked = dict(pair.split("=") for pair in re.search(r"resources: (.*)", job)[1].split(", "))
    wanted = {"nodes": "2", "tasks": "2", "mpi": "srun", "gpu": "4", "tasks_per_gpu": "0"}
    assert {name: asked.get(name) for name in wanted} == wanted
    others = [part for part in jobs if "resources:" in part and part != job]
    assert others
    assert not any("mpi=" in part for part in others)
