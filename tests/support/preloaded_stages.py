"""Stage processes that are forks of one that has imported torch: an import takes seconds of each.

Run as a script it is that process: it listens on a socket, and computes nothing, so that its forks
are as good as new processes. ``preloaded/videossl`` asks it to run a command line and ends as that
ends. Only libraries are imported here; the package itself is imported by each fork, from the
study's own folder. That stages start by themselves, with their own order of imports and thread
pools, is for tests without ``Study.preloaded``: the session's study, and all of DVC's pretraining.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET = "VIDEOSSL_TEST_STAGES"  # where it listens
COMMAND = Path(__file__).parent / "preloaded" / "videossl"
MOST = 1 << 20  # bytes of a request


@contextmanager
def server() -> Iterator[Path]:
    """Start one; yields its socket. It ends with this process."""
    from videossl.machine import POOLS

    with tempfile.TemporaryDirectory(prefix="videossl-") as folder:
        address = Path(folder, "s")
        with subprocess.Popen(
            [sys.executable, __file__, str(address)],
            env={**os.environ, **dict.fromkeys(POOLS, "1")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield address
            process.kill()


def serve(address: str) -> None:
    """Fork for every request until whoever started this has gone."""
    for name in ("torch", "kornia.enhance", "sklearn.linear_model", "matplotlib.pyplot", "pandas"):
        __import__(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            asked, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                keep(asked)
                os._exit(0)
            asked.close()


def keep(asked: socket.socket) -> None:
    """Run what is asked in a fork; pass signals on to it, and tell how it ended.

    Its death is that of whoever asked, too.
    """
    text, streams, _, _ = socket.recv_fds(asked, MOST, 3)
    while not text.endswith(b"\n"):
        text += asked.recv(MOST)
    request = json.loads(text)
    child = os.fork()
    if child == 0:
        asked.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        run(request["words"], request["folder"], request["environment"])
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([asked, ended], [], [])
        if ended in ready:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            asked.sendall(f"{status}\n".encode())
            return
        signals = asked.recv(16)
        for number in signals or [signal.SIGKILL]:
            os.kill(child, number)


def run(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """The command line, in this process; does not return."""
    code = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        source = Path("src").resolve()
        if (source / "videossl").is_dir():  # as the command itself does, by starting once more
            others = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), others]))
        path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:] = [name for name in path if name] + sys.path
        sys.argv = ["videossl", *words]
        runpy.run_module("videossl", run_name="__main__", alter_sys=False)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
