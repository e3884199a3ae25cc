"""One process at a time makes a stage instance; a dead one holds nothing."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from pathlib import Path

from videossl.study import ownership
from videossl.study.ownership import owned

DEADLINE = 120.0  # seconds, on a machine that is busy
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


def says(process: subprocess.Popen[str], name: str) -> str:
    """The next line of one of its streams; a test that waits in vain fails instead of hanging."""
    stream = getattr(process, name)
    assert select.select([stream], [], [], DEADLINE)[0], f"nothing on {name}"
    return str(stream.readline())


def let_go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_the_second_waits_and_says_for_whom(tmp_path):
    lock = tmp_path / "locks" / "x"
    with hold(lock) as first:
        assert says(first, "stdout") == "mine\n"
        with hold(lock) as second:
            line = says(second, "stderr")
            assert f"pretrain/rspnet/seed-0: waits for process {first.pid} on " in line
            let_go(first)
            assert says(second, "stdout") == "mine\n"
            let_go(second)
    assert first.returncode == second.returncode == 0


def test_a_process_holds_until_it_ends_and_asks_without_waiting(tmp_path):
    lock = tmp_path / "x"
    with hold(lock) as first:
        assert says(first, "stdout") == "mine\n"
        assert not ownership.hold(lock)
        let_go(first)
    asks = "import sys; from pathlib import Path; from videossl.study import ownership; "
    held = [sys.executable, "-c", asks + "print(ownership.hold(Path(sys.argv[1])))", str(lock)]
    for _ in range(2):  # each ends, and so lets go
        assert subprocess.run(held, capture_output=True, text=True).stdout == "True\n"


def test_a_killed_holder_frees_it(tmp_path):
    lock = tmp_path / "x"
    with hold(lock) as first:
        assert says(first, "stdout") == "mine\n"
        first.send_signal(signal.SIGKILL)
    with owned(lock, "x"):
        pass
