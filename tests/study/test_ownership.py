"""One process at a time makes a stage instance; a dead one holds nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from videossl.study.ownership import owned

HOLD = """
import sys, time
from pathlib import Path
from videossl.study.ownership import owned
with owned(Path(sys.argv[1]), "pretrain/rspnet/seed-0"):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def hold(lock: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_second_waits_and_says_for_whom(tmp_path):
    lock = tmp_path / "locks" / "x"
    with hold(lock) as first, hold(lock) as second:
        streams = [first.stdout, second.stdout]
        assert all(stream is not None for stream in streams)
        # whichever came first holds it; the other says so
        waiting = second if first.stdout.readline() == "mine\n" and not _said(first) else first
        line = waiting.stderr.readline()
        holder = second if waiting is first else first
        assert f"pretrain/rspnet/seed-0: waits for process {holder.pid} on " in line
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert waiting.stdout.readline() == "mine\n"
        waiting.stdin.write("\n")
        waiting.stdin.flush()
    assert first.returncode == second.returncode == 0


def _said(process: subprocess.Popen[str]) -> bool:
    return process.poll() is not None


def test_a_killed_holder_frees_it(tmp_path):
    lock = tmp_path / "x"
    with hold(lock) as first:
        assert first.stdout.readline() == "mine\n"
        first.send_signal(signal.SIGKILL)
    with owned(lock, "x"):
        pass
