"""Claim GPUs: processes that train on one machine at the same time take different ones.

Each GPU (or MIG part) has a lock file, in one folder per user for all studies on the machine. A
process holds the lock of every GPU that it uses; the kernel releases it when the process dies,
however it dies. Nothing else is coordinated: processes of other users and other programs are the
scheduler's business, which says by ``CUDA_VISIBLE_DEVICES`` what is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from videossl import machine
from videossl.job import UserError
from videossl.study import ownership

FOLDER = "VIDEOSSL_GPU_LOCKS"  # another folder for the locks
CLAIMED = "VIDEOSSL_CLAIMED_GPUS"  # what a process above this one holds for it
SHARED = Path("/tmp")  # seen by all processes of a user, whatever started them
POLL_SECONDS = 1.0
COMMAND_LENGTH = 120  # characters of a command that are shown


@contextmanager
def claim(count: int) -> Iterator[list[str]]:
    """Hold ``count`` GPUs during the block; ``CUDA_VISIBLE_DEVICES`` names them, and only them.

    For this process and those it starts: ranks see their launcher's GPUs, and a claim of theirs is
    answered from what the launcher holds. Waits until enough are free, and says once for whom.
    Must come before CUDA is started in this process, as CUDA reads the variable once.

    Returns:
        UUIDs, in the order in which CUDA numbers them; none where the machine has no GPU or
        ``CUDA_VISIBLE_DEVICES`` hides all: a run on the CPU.

    Raises:
        UserError: fewer are visible than asked for.
        RuntimeError: CUDA was started before.
    """
    if CLAIMED in os.environ:
        held = os.environ[CLAIMED].split(",")
        if len(held) < count:
            raise UserError(f"{count} GPUs are asked for, but this job was given {len(held)}")
        yield held
        return
    visible = _visible(count)
    torch = sys.modules.get("torch")
    if visible and torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("GPUs must be claimed before CUDA is started in this process")
    with ExitStack() as stack:
        taken = _take(visible, count, stack) if visible else []
        before = {name: os.environ.get(name) for name in (machine.VISIBLE, CLAIMED)}
        stack.callback(_restore, before)
        if taken:
            os.environ[machine.VISIBLE] = os.environ[CLAIMED] = ",".join(taken)
        yield taken


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _visible(count: int) -> list[str]:
    """The GPUs to choose from; none for a run on the CPU."""
    visible, stray = machine.visible()
    if len(visible) >= count or (not visible and stray is None):
        return visible
    value = os.environ.get(machine.VISIBLE)
    of_machine = [gpu.uuid for gpu in machine.installed()]
    if not of_machine:  # the variable was meant for a machine that has some
        return []
    sees = f"this job sees {len(visible)} of this machine's {len(of_machine)}"
    if stray is not None:
        listed = ", ".join(f"{i}: {uuid}" for i, uuid in enumerate(of_machine))
        sees += f"; {machine.VISIBLE}={value}: {stray} names no GPU here; there are {listed}"
    elif value is not None:
        sees += f" ({machine.VISIBLE}={value})"
    raise UserError(f"{count} GPU{'s are' if count > 1 else ' is'} asked for, but {sees}")


def _take(visible: list[str], count: int, stack: ExitStack) -> list[str]:
    """Wait for the locks of ``count`` GPUs; they are held until the stack closes.

    A process that finds too few free lets go of them, or two could wait for each other for ever.
    One at a time may keep them, the one that holds the lock ``first``: so a process that needs
    many is served although others that need few come and go.
    """
    folder = _folder()
    # shared, on the folder: systemd-tmpfiles deletes nothing old below a folder that is locked
    stack.callback(_release, _lock(folder, fcntl.LOCK_SH))
    held: dict[str, int] = {}
    first: int | None = None
    said = False
    try:
        while True:
            for uuid in visible:
                if uuid not in held and len(held) < count:
                    descriptor = _lock(_file(folder, uuid))
                    if descriptor is not None:
                        held[uuid] = descriptor
                        _sign(descriptor)
            if len(held) == count:
                break
            if not said:
                print(_waiting(folder, visible, held, count), file=sys.stderr, flush=True)
                said = True
            if first is None:
                first = _lock(folder / "first.lock")
            if first is None:
                while held:
                    _release(held.popitem()[1])
            time.sleep(POLL_SECONDS * random.uniform(0.5, 1.0))  # apart from the others' polls
    except BaseException:
        for descriptor in held.values():
            _release(descriptor)
        raise
    finally:
        _release(first)
    for descriptor in held.values():
        stack.callback(_release, descriptor)
    return [uuid for uuid in visible if uuid in held]


def _folder() -> Path:
    """The folder of the locks.

    Not ``XDG_RUNTIME_DIR`` and not ``TMPDIR``: a login, a batch job and a service of the same user
    have different ones, or none, and would not see each other's locks.

    Raises:
        UserError: it is not a folder of this user's own.
    """
    given = os.environ.get(FOLDER)
    folder = Path(given) if given else SHARED / f"videossl-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise UserError(f"{folder}: no folder for the locks of GPUs: {error.strerror}") from error
    if not given and (folder.is_symlink() or status.st_uid != os.getuid()):
        raise UserError(f"{folder}: belongs to somebody else; {FOLDER} can name another folder")
    return folder


def _file(folder: Path, uuid: str) -> Path:
    return folder / f"{uuid.replace('/', '_')}.lock"  # older ids of MIG parts have slashes


def _lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """A descriptor that holds the lock of ``path``, or None if another process has it."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    while True:
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(f"{path}: no lock of a GPU: {error.strerror}") from error
        ownership.private.add(descriptor)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            _release(descriptor)
            return None
        if _is_at(path, descriptor):
            return descriptor
        _release(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one of that name, or was deleted meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _release(descriptor: int | None) -> None:
    if descriptor in ownership.private:
        ownership.private.remove(descriptor)
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Write into a lock file who holds it, for those who wait."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    command = " ".join([name, *sys.argv[1:]])
    record = json.dumps({"pid": os.getpid(), "command": " ".join(command.split())})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, record.encode(), 0)


def _holder(file: Path) -> str:
    try:
        record = json.loads(file.read_text())
        return f"pid {record['pid']} ({record['command'][:COMMAND_LENGTH]})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has the lock and has not signed yet


def _waiting(folder: Path, visible: list[str], held: dict[str, int], count: int) -> str:
    busy = [
        f"{uuid} is held by {_holder(_file(folder, uuid))}" for uuid in visible if uuid not in held
    ]
    return f"waiting for {count} of {len(visible)} GPUs: " + ", ".join(busy)
