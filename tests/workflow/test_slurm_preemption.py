"""A job of a higher partition takes the node: what it stops is queued again, or cancelled."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.cluster import (
    DEADLINE,
    NEEDS_SLURM,
    jobs,
    limits,
    noting,
    removed,
    said,
    sha256,
    start,
    state_of,
    timed,
    until,
)

pytestmark = NEEDS_SLURM


def test_a_preempted_training_resumes_as_the_same_job_and_what_is_cancelled_as_another(
    longer, urgent
):
    study, place, expected = longer
    embedded, features = removed(study, "embed/scratch/synthetic/seed-0")
    noting(study, 'if [ "$1" = embed ] && [ ! -e go ]; then exec sleep 600; fi; exec "$real" "$@"')
    spare = ("--set-resources", "embed:slurm_partition=spare")  # the training is in `main`
    running = start(study, Path("runs") / place, embedded, *spare)
    until((study.root / "scratch" / place / "checkpoint.pt").exists, "no checkpoint")
    until(lambda: limits(study, "embed"), "it was not started")
    both = jobs(study)
    assert len(both) == 2
    other = urgent()
    until(lambda: state_of(other) == "RUNNING", "the node was not taken")
    with timed("preempted, and cancelled or queued again: until both wait in the queue again"):
        stopped = ["PENDING", "PREEMPTED"]
        until(lambda: sorted(map(state_of, both)) == stopped, "they were not stopped")
        until(lambda: len(jobs(study, "PD")) == 2, "the other was not submitted again")
    (study.root / "go").touch()
    subprocess.run(["scancel", other], check=True)
    assert running.wait(DEADLINE) == 0
    assert len(jobs(study, "all")) == 3  # the training was not started beside itself
    assert not list((study.root / "runs" / place.parent).glob(".*"))
    assert "embed scratch synthetic 0: SLURM job" in said(study)
    assert "it was preempted, and it was not queued again; submitted again" in said(study)
    assert "Error in rule" not in said(study)
    assert limits(study, "embed") == ["4:00:00 8000M"] * 2  # no attempt was used
    assert sha256(study.root / embedded / "features.npy") == features
    assert sha256(study.root / "runs" / place / "encoder.safetensors") == expected
    assert "resum" in (study.root / "logs" / place).with_suffix(".log").read_text()


def test_a_job_that_is_preempted_too_often_uses_an_attempt(cluster, urgent):
    place, expected = removed(cluster, "embed/rspnet/synthetic/seed-0")
    noting(cluster, "exec sleep 600")
    spare = ("--set-resources", "embed:slurm_partition=spare", "embed:preemptions=0")
    running = start(cluster, place, *spare)
    until(lambda: limits(cluster), "it was not started")
    other = urgent()
    with timed("preempted once too often: until its attempt has failed"):
        until(lambda: "Error in rule" in said(cluster), "nothing is said")
    subprocess.run(["scancel", other], check=True)
    assert running.wait(DEADLINE) == 0
    assert limits(cluster) == ["4:00:00 8000M", "8:00:00 16000M"]
    assert "it was preempted, and it was not queued again; its log: " in said(cluster)
    assert sha256(cluster.root / place / "features.npy") == expected
