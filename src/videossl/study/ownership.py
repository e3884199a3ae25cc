"""One process at a time makes a stage instance, of whichever engine."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.2
LOCKS = Path("scratch", "locks")

private: set[int] = set()  # descriptors of locks that this process holds


def _close_in_child() -> None:
    """A forked child (a reader) would hold the lock beyond its parent's death; exec closes it."""
    while private:
        os.close(private.pop())


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def owned(lock: Path, what: str) -> Iterator[bool]:
    """Hold ``lock`` for the time of the block; wait for whoever holds it, and say who that is.

    The block is told whether it had to wait: then what it wants to make may be there by now.

    The kernel releases it when the process dies, however it dies. Over a shared file system that
    holds as far as its ``flock`` does (NFS since Linux 2.6.12, Lustre with ``-o flock``).
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    private.add(descriptor)
    try:
        said = False
        while not _taken(descriptor):
            if not said:
                print(f"{what}: waits for {_holder(descriptor)}", file=sys.stderr, flush=True)
                said = True
            time.sleep(POLL_SECONDS)
        facts = {"host": platform.node(), "pid": os.getpid(), "since": time.strftime("%F %T")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(facts).encode(), 0)
        yield said
    finally:
        private.discard(descriptor)
        os.close(descriptor)  # the file stays: removing it would let two hold two files


def lock_of(*names: str) -> Path:
    """The lock of what these names stand for, in this copy of the study."""
    return LOCKS / "-".join(names)


def lock_of_place(out: Path) -> Path:
    """The lock of a place where outputs are put: who makes another output there waits, too."""
    return lock_of("at", hashlib.sha256(os.fsencode(out.absolute())).hexdigest()[:16])


def held(lock: Path) -> bool:
    """Whether a process holds ``lock`` now."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _taken(descriptor)
    finally:
        os.close(descriptor)


def hold(lock: Path) -> bool:
    """Hold ``lock`` until this process ends, unless another process does; whether it is held."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    if _taken(descriptor):
        private.add(descriptor)
        return True
    os.close(descriptor)
    return False


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder(descriptor: int) -> str:
    """Who holds the lock, as far as it has said so."""
    try:
        facts = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {facts['pid']} on {facts['host']}, which makes it since {facts['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process, which makes it"
