"""Forked stages end as the command does: with its words, its status and its signals."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

SLEEPS = """
import os, sys, time
print(os.getpid(), os.getcwd(), sys.argv[1:], os.environ["TOLD"], flush=True)
time.sleep(60)
"""


def state(pid: int) -> str:
    """Of a process: one that has ended and that nobody waits for is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


@pytest.mark.slow
def test_words_and_status_are_the_commands(study, preloaded):
    def end(*words: str) -> tuple[int, str, str]:
        done = study.run("videossl", *words, check=False)
        return done.returncode, done.stdout, done.stderr

    for words in (["check"], ["check", "nothing"], ["no-verb"]):
        alone = end(*words)
        with study.preloaded(preloaded):
            assert end(*words) == alone


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_fork(study, preloaded, number):
    (study.root / "src/videossl/__main__.py").write_text(SLEEPS)
    study.env["TOLD"] = "so"
    with (
        study.preloaded(preloaded),
        subprocess.Popen(
            ["videossl", "a", "b"], cwd=study.root, env=study.env, stdout=subprocess.PIPE, text=True
        ) as command,
    ):
        pid, rest = command.stdout.readline().split(maxsplit=1)
        assert rest == f"{study.root} ['a', 'b'] so\n"
        assert state(int(pid)) != "Z"
        command.send_signal(number)
    assert command.returncode == -number
    deadline = time.monotonic() + 30
    while state(int(pid)) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)
