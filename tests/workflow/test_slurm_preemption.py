"""A job of a higher partition takes the node from a training: it is queued again, or cancelled."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.cluster import (
    DEADLINE,
    NEEDS_SLURM,
    begun,
    jobs,
    said,
    scontrol,
    sha256,
    start,
    state_of,
    until,
)

pytestmark = NEEDS_SLURM


def test_a_preempted_training_that_is_queued_again_resumes_as_the_same_job(longer, urgent):
    study, place, expected = longer
    running = start(study, Path("runs") / place)
    job = begun(study, place)
    other = urgent()
    until(lambda: state_of(other) == "RUNNING", "the node was not taken")
    until(lambda: state_of(job) == "PENDING", "it is not queued again")
    subprocess.run(["scancel", other], check=True)
    scontrol("update", f"jobid={job}", "StartTime=now")  # SLURM would wait a while
    assert running.wait(DEADLINE) == 0
    assert jobs(study, "all") == [job]  # it was not started a second time beside itself
    assert not list((study.root / "runs" / place.parent).glob(".*"))
    assert "Error in rule" not in said(study)
    assert sha256(study.root / "runs" / place / "encoder.safetensors") == expected
    assert "resum" in (study.root / "logs" / place).with_suffix(".log").read_text()


def test_a_preempted_training_that_is_cancelled_is_submitted_again_and_resumes(longer, urgent):
    study, place, expected = longer
    running = start(study, Path("runs") / place, "--default-resources", "slurm_partition=spare")
    job = begun(study, place)
    other = urgent()
    until(lambda: state_of(job) == "PREEMPTED", "it was not preempted")
    until(lambda: jobs(study, "PD"), "it was not submitted again")
    assert state_of(other) == "RUNNING"
    subprocess.run(["scancel", other], check=True)
    assert running.wait(DEADLINE) == 0
    assert len(jobs(study, "all")) == 2
    assert "it was preempted, and it was not queued again" in said(study)
    assert "Error in rule" not in said(study)  # no attempt was used
    assert sha256(study.root / "runs" / place / "encoder.safetensors") == expected
    assert "resum" in (study.root / "logs" / place).with_suffix(".log").read_text()
