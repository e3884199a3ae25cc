"""A failed job is started again, unless what failed is the user's input; locks of the dead go."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.study import Study

FAKE = """#!/usr/bin/env bash
echo "$1" >> ran
echo "$*" >> words
{ending}
"""


@pytest.fixture
def failing(study: Study, tmp_path: Path):
    """A study in which every stage notes that it ran and ends as it is told."""

    def ends(ending: str) -> Study:
        folder = tmp_path / "bin"
        folder.mkdir()
        file = folder / "videossl"
        file.write_text(FAKE.format(ending=ending))
        file.chmod(0o755)
        study.env["PATH"] = f"{folder}{os.pathsep}{study.env['PATH']}"
        return study

    return ends


def test_a_failed_job_is_started_again_and_told_so(failing):
    study = failing("exit 137")
    done = study.run("snakemake", "--cores", "1", "--until", "prepare", check=False)
    assert done.returncode == 1
    words = (study.root / "words").read_text().splitlines()
    assert [line.split("--attempt ")[1].split()[0] for line in words] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_killed_snakemake_leaves_nothing_that_needs_a_command(failing):
    study = failing("if [ -e go ]; then mkdir -p runs/prepare; exit 1; fi; sleep 600")
    command = ["snakemake", "--cores", "1", "--until", "prepare"]
    run = subprocess.Popen(
        command, cwd=study.root, env=study.env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (study.root / "ran").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    second = study.run(*command, check=False)  # while the first lives, its lock holds
    assert "cannot be locked" in second.stdout + second.stderr
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    (study.root / "go").touch()
    third = study.run(*command, check=False)
    assert "locked" not in third.stdout + third.stderr
    assert len((study.root / "ran").read_text().split()) == 4  # it ran, three times in all
