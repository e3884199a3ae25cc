"""``videossl`` in a forked process: its changes to files by strace, and faults at one of them.

The fork saves importing torch again; nothing else of the process is shared. What counts is every
call that changes the file system below the folder where the command runs: opening to write,
writing, syncing, renaming, linking, removing, making folders, by Python and by native code alike.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path

ABSENT = "strace is not installed: apt-get install strace (or .ci/install strace strace)"
OPENING = ("openat", "open", "creat")
CALLS = (
    *OPENING,
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "truncate", "fallocate"),
    *("fsync", "fdatasync", "msync", "sync_file_range", "sendfile", "copy_file_range"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"),
)
# names drawn at random: of the writer of safetensors at first, and of Python's tempfile
DRAWN = re.compile(r"(/\.tmp\w{6}|\btmp/[a-z0-9_]{8})$")
LIMIT = 300.0  # seconds; a run that takes longer hangs
LINGER = 20.0  # seconds after its end until its children must be gone
PR_SET_CHILD_SUBREAPER = 36  # of prctl.h
LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
DESCRIPTOR = re.compile(r"\b\d+<([^>]+)>")
PLACE = re.compile(r"(?:AT_FDCWD|\d+)<([^>]+)>, *$")


@dataclass(frozen=True)
class Call:
    """A change to a file.

    Attributes:
        name: of the system call.
        file: as strace can be told it: the text that the call names, or the descriptor's path;
            ``{pid}`` stands for the number of the process.
        number: which of the same calls on it, from 1; of a file whose name is drawn at random,
            which of all calls of that name that the thread makes.
    """

    name: str
    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} {self.file} #{self.number}"


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit status (negative: the signal), what it printed, what strace saw."""

    status: int | None  # None: it hung
    said: str
    log: list[str]
    pid: int
    left: bool  # whether a child outlived it

    @property
    def struck(self) -> bool:
        """Whether the fault came about, in the process itself or in a child."""
        marks = ("(INJECTED)", "+++ killed by SIGKILL +++")
        seen = any(mark in line for line in self.log for mark in marks)
        return seen or self.status == -signal.SIGKILL


def strace() -> str | None:
    """The program, or None."""
    return shutil.which("strace")


def run(arguments: Sequence[str], folder: Path, options: Sequence[str] | None = None) -> Ended:
    """Run ``videossl`` in ``folder``; under strace with ``options``, ``{pid}`` filled in."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans come to this process
    said, log = folder.with_name(f"{folder.name}.said"), folder.with_name(f"{folder.name}.strace")
    pid = stopped(arguments, folder, said)
    tracer = None
    if options is not None:
        tracer = _attach(pid, [word.replace("{pid}", str(pid)) for word in options], log)
    os.kill(pid, signal.SIGCONT)
    status, left = wait(pid)
    lines: list[str] = []
    if tracer is not None:
        tracer.communicate()
        lines = log.read_text(errors="replace").splitlines()
    return Ended(status, said.read_text(errors="replace"), lines, pid, left)


def stopped(arguments: Sequence[str], folder: Path, said: Path) -> int:
    """A fork that waits for SIGCONT, then runs the command line."""
    from videossl import cli

    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.waitpid(pid, os.WUNTRACED)
        return pid
    code = 1
    atexit._clear()  # what this process has to do at its end is not the fork's
    atexit.register(util._exit_function)
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        (folder / "tmp").mkdir(exist_ok=True)
        os.environ["TMPDIR"] = str(folder / "tmp")
        target = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.kill(os.getpid(), signal.SIGSTOP)
        code = cli.main(list(arguments))
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _attach(pid: int, options: Sequence[str], log: Path) -> subprocess.Popen[str]:
    command = ["strace", "-f", "-y", "-o", str(log), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/")
    assert tracer.stderr is not None
    for line in tracer.stderr:
        if "attached" in line:
            return tracer
        if "resolved into" not in line:
            raise RuntimeError(f"strace: {line.strip()}")
    raise RuntimeError("strace ended")


def wait(pid: int) -> tuple[int | None, bool]:
    status = _ended(pid, LIMIT)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        _ended(pid, LINGER)
    deadline = time.monotonic() + LINGER
    left = _group(pid)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = _group(pid)
    if left:
        os.killpg(pid, signal.SIGKILL)
    return status, left


def _ended(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def _group(pid: int) -> bool:
    """Whether processes of the group are left, which are buried if they ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-pid, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def trace() -> list[str]:
    """Options that list every change."""
    return ["-s", "0", "-e", f"trace={','.join(CALLS)}", "-e", "signal=none"]


def fault(call: Call, how: str, folder: Path) -> list[str]:
    """Options that let ``call`` fail with an error, or kill the process before it with "KILL"."""
    what = "signal=KILL" if how == "KILL" else f"error={how}"
    where = [] if DRAWN.search(call.file) else ["-P", call.file]
    return [
        *where,
        *("-e", f"trace={call.name}", "-e", "signal=kill"),  # so that it says who was killed
        *("-e", f"inject={call.name}:{what}:when={call.number}"),
    ]


def calls(ended: Ended, folder: Path) -> list[Call]:
    """The changes below ``folder``, in order."""
    found: dict[Call, None] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for thread, name, names, descriptors, path in _parsed(ended.log):
        touched = {*names, *descriptors, ""}  # "" stands for every call of that name
        for text in touched:
            counts[thread, name, text] = counts.get((thread, name, text), 0) + 1
        if path is None or not (folder / path).is_relative_to(folder):
            continue
        file = names[0] if names else descriptors[0]
        number = counts[thread, name, "" if DRAWN.search(file) else file]
        found[Call(name, file.replace(f".{ended.pid}.", ".{pid}."), number)] = None
    return list(found)


def _parsed(log: Sequence[str]) -> Iterator[tuple[str, str, list[str], list[str], str | None]]:
    """Thread, call, names in it, paths of its descriptors, and what it changes if it does."""
    for line in log:
        match = LINE.match(line)
        if match is None or match[2] not in CALLS:
            continue
        thread, name, rest = match.groups()
        rest = rest.partition(") = ")[0]
        if name in OPENING and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest):
            yield thread, name, TEXT.findall(rest), DESCRIPTOR.findall(rest), None
            continue
        texts = TEXT.findall(rest) if not name.endswith(("write64", "writev", "writev2")) else []
        names = [] if name == "write" else [text for text in texts if text]
        descriptors = [path for path in DESCRIPTOR.findall(rest) if path.startswith("/")]
        path: str | None = descriptors[0] if descriptors else None
        if names:
            before = PLACE.search(rest.partition('"')[0])
            path = str(Path(before[1] if before else "", names[0]))
        yield thread, name, names, descriptors, path
