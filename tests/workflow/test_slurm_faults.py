"""What clusters do to jobs: limits, cancelling, queueing again, and a SLURM that is away.

Each ends in the right result, or in one line and another exit status than 0; never in a wait.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import (
    DEADLINE,
    NEEDS_SLURM,
    begun,
    jobs,
    limits,
    note,
    noting,
    program,
    removed,
    run,
    said,
    scontrol,
    sha256,
    start,
    timed,
    until,
)

pytestmark = NEEDS_SLURM


@pytest.fixture
def controller() -> Iterator[int]:
    """The process of slurmctld; it goes on and answers when the test ends."""

    def found() -> list[int]:
        listed = subprocess.run(
            ["ps", "-C", "slurmctld", "-o", "pid=,stat="], capture_output=True, text=True
        )
        lines = (line.split() for line in listed.stdout.splitlines())
        return [int(pid) for pid, state in lines if not state.startswith("Z")]

    (pid,) = found()
    yield pid
    for one in found():
        os.kill(one, signal.SIGCONT)
    if not found():
        daemon()
    until(lambda: subprocess.run(["squeue"], capture_output=True).returncode == 0, "no SLURM")


def daemon() -> None:
    """Start slurmctld again."""
    null = subprocess.DEVNULL
    subprocess.run(["slurmctld"], check=True, stdin=null, stdout=null, stderr=null)


def test_out_of_time_a_training_resumes_and_another_stage_gets_more_time_and_memory(longer):
    study, place, expected = longer
    embedded, features = removed(study, "embed/scratch/synthetic/seed-0")
    # SLURM looks at its limits every 30 seconds: the training must not end before
    noting(
        study,
        f"""if [ "$1" = embed ]; then exec sleep 600; fi
"$real" "$@" & training=$!
while [ ! -e scratch/{place}/checkpoint.pt ]; do sleep 0.1; done
kill -STOP $training; wait""",
    )
    running = start(study, Path("runs") / place, embedded)
    until((study.root / "scratch" / place / "checkpoint.pt").exists, "no checkpoint")
    until(lambda: limits(study, "embed"), "it was not started")
    for job in jobs(study):
        scontrol("update", f"jobid={job}", "EndTime=now")
    with timed("two jobs are out of time: until both are said"):
        late = "it took more time than it asked for"
        until(lambda: said(study).count(late) == 2, "they are not ended")
    assert running.wait(DEADLINE) == 0
    assert said(study).count("it took more time than it asked for") == 2
    assert sha256(study.root / "runs" / place / "encoder.safetensors") == expected
    assert "resum" in (study.root / "logs" / place).with_suffix(".log").read_text()
    assert limits(study, "embed") == ["4:00:00 8000M", "8:00:00 16000M"]
    assert sha256(study.root / embedded / "features.npy") == features


def test_a_job_that_is_cancelled_once_its_output_is_there_is_done(cluster):
    place, expected = removed(cluster, "embed/rspnet/synthetic/seed-0")
    noting(cluster, '"$real" "$@"; sleep 600')
    running = start(cluster, place)
    until((cluster.root / place).exists, "it was not made")
    (job,) = jobs(cluster)
    subprocess.run(["scancel", job], check=True)
    with timed("cancelled once its output is there: until the study ends"):
        assert running.wait(DEADLINE) == 0
    assert "it counts as done" in said(cluster)
    assert len(limits(cluster)) == 1
    assert sha256(cluster.root / place / "features.npy") == expected


def test_a_job_out_of_memory_gets_more(cluster):
    place, expected = removed(cluster, "embed/rspnet/synthetic/seed-0")
    # memory is counted every second
    cluster.edit("MEMORY_MB = 8000", "MEMORY_MB = 2000", "workflow/rules/common.smk")
    noting(cluster, "exec python -c 'x = bytes(range(256)) * (12 << 20); input()' < <(sleep 60)")
    running = start(cluster, place)
    until(lambda: limits(cluster), "it was not started")
    with timed("a job takes more memory: from its start until it is said"):
        until(lambda: "it took more memory than it asked for" in said(cluster), "it goes on")
    assert running.wait(DEADLINE) == 0
    assert [line.split()[1] for line in limits(cluster)] == ["2000M", "4000M"]
    assert sha256(cluster.root / place / "features.npy") == expected


def test_a_cancelled_training_is_started_again_and_resumes(longer):
    study, place, expected = longer
    running = start(study, Path("runs") / place)
    first = begun(study, place)
    subprocess.run(["scancel", first], check=True)
    with timed("`scancel` of a training: until its next job runs"):
        until(lambda: set(jobs(study)) - {first}, "it is not started again")
    assert running.wait(DEADLINE) == 0
    out = study.root / "runs" / place
    assert sha256(out / "encoder.safetensors") == expected
    assert "resum" in (study.root / "logs" / place).with_suffix(".log").read_text()


def test_a_cancelled_stage_that_is_not_tried_again_is_one_line_with_its_log(cluster):
    cluster.edit("TRIES = 2 if", "TRIES = 0 if", "workflow/rules/common.smk")
    place, _ = removed(cluster, "embed/rspnet/synthetic/seed-0")
    noting(cluster, "sleep 600")
    running = start(cluster, place)
    until(lambda: limits(cluster), "it was not started")
    (job,) = jobs(cluster)
    subprocess.run(["scancel", job], check=True)
    with timed("`scancel` of the last attempt: until the study ends"):
        assert running.wait(DEADLINE) == 1
    (line,) = [line for line in said(cluster).splitlines() if "it was cancelled" in line]
    assert "embed rspnet" in line
    assert str(Path("logs", *place.parts[1:]).with_suffix(".log")) in line


def test_a_job_that_sbatch_refuses_for_a_moment_is_submitted_again(cluster):
    place, expected = removed(cluster, "embed/rspnet/synthetic/seed-0")
    refusal = "sbatch: error: Batch job submission failed: Unable to contact slurm controller"
    once = f"if mkdir refused 2>/dev/null; then echo '{refusal}' >&2; exit 1; fi"
    program(cluster, "sbatch", f'{once}\nexec "$real" "$@"')
    done = run(cluster, str(place))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submitted again in 5 s" in done.stdout + done.stderr
    assert "Error in rule" not in done.stdout + done.stderr  # no attempt was used
    assert sha256(cluster.root / place / "features.npy") == expected


def test_a_job_that_sbatch_refuses_is_one_line(cluster):
    place, _ = removed(cluster, "embed/rspnet/synthetic/seed-0")
    with timed("`sbatch` refuses a partition: from the start of the study to its end"):
        done = run(cluster, str(place), "--default-resources", "slurm_partition=none")
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if "invalid part" in line]
    assert said
    assert all("embed rspnet" in line for line in said), said


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGTERM], ids=["hangs", "is gone"])
def test_the_controller_is_away_while_a_job_runs(cluster, controller, how):
    place, expected = removed(cluster, "embed/rspnet/synthetic/seed-0")
    noting(cluster, 'while [ ! -e go ]; do sleep 0.2; done; exec "$real" "$@"')
    running = start(cluster, place)
    until(lambda: limits(cluster), "it was not started")
    os.kill(controller, how)
    with timed(f"`slurmctld` {'hangs' if how == signal.SIGSTOP else 'is gone'}: until it is said"):
        until(lambda: "SLURM does not answer" in said(cluster), "nothing is said")
    if how == signal.SIGTERM:
        daemon()
    else:
        os.kill(controller, signal.SIGCONT)
    with timed("`slurmctld` is back: until it is said"):
        until(lambda: "SLURM answers again" in said(cluster), "it is not asked again")
    (cluster.root / "go").touch()
    assert running.wait(DEADLINE) == 0
    assert "Error in rule" not in said(cluster)
    assert len(limits(cluster)) == 1
    assert sha256(cluster.root / place / "features.npy") == expected


def test_jobs_that_slurm_forgets_count_by_what_they_made(cluster):
    """Neither the queue nor accounting knows a job that ended."""
    place, expected = removed(cluster, "embed/rspnet/synthetic/seed-0")
    program(cluster, "squeue", '"$real" "$@" | grep -v -e COMPLETED -e COMPLETING; true')
    program(cluster, "sacct", "echo 'sacct: error: accounting is disabled' >&2; exit 1")
    done = run(cluster, str(place))
    assert done.returncode == 0, done.stdout + done.stderr
    made = (cluster.root / place).stat().st_mtime
    note("SLURM forgets a job: from its output until the study ends", time.time() - made)
    assert "knows it no more: it counts as done" in done.stdout + done.stderr
    assert sha256(cluster.root / place / "features.npy") == expected
