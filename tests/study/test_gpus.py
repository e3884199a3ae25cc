"""GPUs are claimed by processes, waited for, and freed however their holder ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import pytest

from support.study import ROOT
from videossl import machine
from videossl.job import UserError
from videossl.study import gpus, ownership

DEADLINE = 120.0  # seconds, on a machine that is busy
FOUR = "GPU-a,GPU-b,GPU-c,GPU-d"
# claims, says what it sees, holds until its standard input ends; says so once it let go
JOB = """
import os, subprocess, sys, time
from videossl.job import UserError
from videossl.study import gpus, ownership
gpus.POLL_SECONDS = 0.05
try:
    with gpus.claim(int(sys.argv[1])) as ids:
        assert ids == [i for i in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if i]
        more = sys.argv[2:]
        if "exec" in more:  # a rank
            child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ids = [*ids, str(child.pid)]
        if "fork" in more:  # a reader
            child = os.fork()
            if not child:
                os.closerange(0, 3)
                time.sleep(600)
            ids = [*ids, str(child)]
        print(",".join(ids), flush=True)
        sys.stdin.read()
    print("free", flush=True)
except UserError as error:
    sys.exit(str(error))
"""


class Jobs:
    """Processes that claim pretended GPUs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "job.py"
        self.script.write_text(JOB)  # once: a process that starts would read a file being written
        self.running: list[subprocess.Popen[str]] = []
        self.children: list[int] = []

    def start(self, count: int, *more: str, **environment: str) -> subprocess.Popen[str]:
        """A process that claims ``count``; it is not waited for."""
        plain = {k: v for k, v in os.environ.items() if k not in (gpus.CLAIMED, machine.VISIBLE)}
        given = {
            machine.PRETENDED: FOUR,
            gpus.FOLDER: str(self.folder / "locks"),
            "PYTHONPATH": str(ROOT / "src"),
        }
        job = subprocess.Popen(
            [sys.executable, str(self.script), str(count), *more],
            env={**plain, **given, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(job)
        return job

    def end(self) -> None:
        """Kill what still runs."""
        for job in self.running:
            job.kill()
            job.communicate()
        for child in self.children:
            os.kill(child, signal.SIGKILL)


@pytest.fixture
def jobs(tmp_path):
    started = Jobs(tmp_path)
    yield started
    started.end()


def line(stream: TextIO) -> str:
    """The next line of a process; a test that waits in vain fails instead of hanging."""
    assert select.select([stream], [], [], DEADLINE)[0], "the process says nothing"
    return stream.readline()


def ids(job: subprocess.Popen[str]) -> list[str]:
    """What it claimed; waits for it."""
    claimed = line(job.stdout)
    assert claimed, job.stderr.read()
    return claimed.strip().split(",")


def waits(job: subprocess.Popen[str]) -> str:
    """What it says when it begins to wait."""
    said = line(job.stderr)
    assert said.startswith("waiting for ")
    return said


def finish(job: subprocess.Popen[str]) -> str:
    """Let it go; what it wrote to standard error."""
    out, error = job.communicate("", timeout=DEADLINE)
    assert (out, job.returncode) == ("free\n", 0)
    return error


def test_four_jobs_get_four_gpus(jobs):
    started = [jobs.start(1) for _ in range(4)]
    assert sorted(gpu for job in started for gpu in ids(job)) == FOUR.split(",")
    assert [finish(job) for job in started] == [""] * 4


def test_a_killed_holder_frees_its_own_and_no_other(jobs):
    first, second = jobs.start(2), jobs.start(2)
    own = ids(first)
    ids(second)
    waiting = jobs.start(2)
    said = waits(waiting)
    for job, held in ((first, own), (second, set(FOUR.split(",")) - set(own))):
        for gpu in held:
            assert f"{gpu} is held by pid {job.pid} (job.py 2)" in said
    assert said.startswith("waiting for 2 of 4 GPUs: ")
    first.kill()
    assert ids(waiting) == own
    assert finish(waiting) == ""  # it was said once
    assert second.poll() is None


@pytest.mark.parametrize("how", [["exec"], ["fork"]])
def test_what_a_killed_holder_started_holds_nothing(jobs, how):
    holder = jobs.start(4, *how)
    *own, child = ids(holder)
    jobs.children.append(int(child))
    holder.kill()
    holder.wait()
    os.kill(int(child), 0)  # it lives
    assert ids(jobs.start(4)) == own


def test_waiting_jobs_do_not_wait_for_each_other(jobs):
    holders = [jobs.start(1) for _ in range(4)]
    for job in holders:
        ids(job)
    waiting = [jobs.start(4) for _ in range(3)]
    for job in waiting:
        waits(job)
    for job in holders:  # one after the other: each of the three could take some and keep them
        finish(job)
        time.sleep(0.2)
    streams = {job.stdout: job for job in waiting}
    while streams:  # whichever is first; the others come once that one is done
        ready = select.select(list(streams), [], [], DEADLINE)[0]
        assert ready, "nobody was served"
        job = streams.pop(ready[0])
        ids(job)
        finish(job)


def test_a_job_that_needs_many_is_served_although_others_come_and_go(jobs):
    small = {ids(job)[0]: job for job in [jobs.start(1) for _ in range(4)]}
    large, late = jobs.start(4), jobs.start(1)
    waits(large)
    deadline = time.monotonic() + DEADLINE
    while small:  # one at a time ends: never are four free at once
        gpu, job = small.popitem()
        finish(job)
        lock = jobs.folder / f"locks/{gpu}.lock"
        time.sleep(0.2)  # if the large one lets go of it, the late one has it by then
        while not (late_has := select.select([late.stdout], [], [], 0.02)[0]):
            if f"pid {large.pid} " in gpus._holder(lock):
                break
            assert time.monotonic() < deadline, "nobody takes what is free"
        if late_has:
            assert time.monotonic() < deadline, "the large one gets nothing that it keeps"
            small[ids(late)[0]], late = late, jobs.start(1)
            waits(late)
    assert len(ids(large)) == 4


def test_a_waiting_job_holds_nothing_after_it_was_interrupted(jobs):
    holder = jobs.start(2)
    ids(holder)
    waiting = jobs.start(3)
    waits(waiting)
    waiting.send_signal(signal.SIGINT)
    waiting.wait()
    assert len(ids(jobs.start(2))) == 2


def failed(job: subprocess.Popen[str]) -> str:
    out, error = job.communicate(timeout=DEADLINE)
    assert (out, job.returncode) == ("", 1)
    return error


def test_a_job_that_sees_too_few_says_so_in_one_line(jobs):
    asked = "4 GPUs are asked for, but this job sees 1 of this machine's "
    assert failed(jobs.start(4, VIDEOSSL_GPUS="GPU-a")) == f"{asked}1\n"
    error = failed(jobs.start(4, CUDA_VISIBLE_DEVICES="2"))
    assert error == f"{asked}4 (CUDA_VISIBLE_DEVICES=2)\n"


def test_a_setting_that_names_no_gpu_says_so_in_one_line(jobs):
    assert failed(jobs.start(1, CUDA_VISIBLE_DEVICES="7")) == (
        "1 GPU is asked for, but this job sees 0 of this machine's 4; CUDA_VISIBLE_DEVICES=7: "
        "7 names no GPU here; there are 0: GPU-a, 1: GPU-b, 2: GPU-c, 3: GPU-d\n"
    )


def test_only_visible_gpus_are_claimed(jobs):
    first, second = (jobs.start(1, CUDA_VISIBLE_DEVICES=v) for v in ("3,GPU-b", "GPU-b,3"))
    assert sorted(ids(first) + ids(second)) == ["GPU-b", "GPU-d"]


@pytest.mark.parametrize("environment", [{"VIDEOSSL_GPUS": ""}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_a_run_on_the_cpu_claims_nothing(jobs, environment):
    for job in [jobs.start(2, **environment) for _ in range(2)]:
        assert ids(job) == [""]
        assert finish(job) == ""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv(machine.PRETENDED, FOUR)
    monkeypatch.setenv(gpus.FOLDER, str(tmp_path / "locks"))
    monkeypatch.delenv(gpus.CLAIMED, raising=False)
    monkeypatch.setenv(machine.VISIBLE, "3,1,0")
    return tmp_path / "locks"


def test_the_environment_is_as_before_afterwards(here):
    with gpus.claim(2) as own:
        assert own == ["GPU-d", "GPU-b"]
        assert os.environ[machine.VISIBLE] == "GPU-d,GPU-b"
        assert machine.gpus() == 2
    assert os.environ[machine.VISIBLE] == "3,1,0"
    assert gpus.CLAIMED not in os.environ
    assert not ownership.private


def test_a_claim_within_a_claim_is_answered_from_it(here):
    with gpus.claim(3) as own:
        with gpus.claim(3) as again:
            assert again == own
        with pytest.raises(UserError, match="4 GPUs are asked for, but this job was given 3"):
            gpus.claim(4).__enter__()
    assert not ownership.private


def test_a_lock_file_that_was_deleted_is_no_lock(here, monkeypatch):
    opened = os.open

    def replaced(path, *rest):
        descriptor = opened(path, *rest)
        if Path(path).name == "GPU-d.lock":
            monkeypatch.setattr(os, "open", opened)
            Path(path).unlink()
        return descriptor

    monkeypatch.setattr(os, "open", replaced)
    with gpus.claim(1) as own:
        assert own == ["GPU-d"]
        assert (here / "GPU-d.lock").read_text()  # signed, so the file of that name is held


def test_ids_with_slashes_have_a_file(here, monkeypatch):
    monkeypatch.setenv(machine.VISIBLE, "MIG-GPU-a/1/0")
    with gpus.claim(1) as own:
        assert own == ["MIG-GPU-a/1/0"]
        assert (here / "MIG-GPU-a_1_0.lock").is_file()


def test_a_folder_of_somebody_else_is_refused(monkeypatch, tmp_path):
    (tmp_path / "theirs").mkdir()
    monkeypatch.delenv(gpus.FOLDER, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1)
    monkeypatch.setattr(gpus, "SHARED", tmp_path)
    (tmp_path / "videossl-gpus-1").symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="videossl-gpus-1: belongs to somebody else"):
        gpus._folder()


def test_a_folder_that_cannot_be_is_one_line(here, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(gpus.FOLDER, str(tmp_path / "file/locks"))
    with pytest.raises(UserError, match="no folder for the locks of GPUs"):
        gpus.claim(1).__enter__()
