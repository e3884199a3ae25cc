"""Put a finished folder in its place: whole or absent, whenever a process or the machine dies."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from videossl.durable import sync_folder, sync_tree
from videossl.job import UserError
from videossl.study import disk, ownership

RECORD = "stage.json"  # what each output says about itself
CONTENTS = "contents.json"  # digests of what others depend on, in a folder that DVC tracks
OURS = (RECORD, CONTENTS)  # a folder with one of them was made here and may be replaced
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of fcntl.h and renameat2(2)


def part_of(out: Path) -> Path:
    """The folder beside ``out`` in which this process makes it."""
    return out.with_name(f".{out.name}.{os.getpid()}.part")


@contextmanager
def made(out: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of ``out`` where the block ends without an error.

    One process at a time makes something there.

    Raises:
        UserError: at ``out`` is something that was not made here, or the disk refuses.
    """
    lock = ownership.lock_of_place(out)
    with disk.explained(out), ownership.owned(lock, str(out)):
        part = begin(out)
        try:
            yield part
            publish(part, out)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def begin(out: Path) -> Path:
    """An empty folder in which ``out`` can be made; what killed processes left of it is removed.

    Raises:
        UserError: at ``out`` is something that was not made here.
    """
    refuse_foreign(out)
    for left in leftovers(out):
        shutil.rmtree(left, ignore_errors=True)
    part = part_of(out)
    part.mkdir(parents=True)
    return part


def leftovers(out: Path) -> Iterable[Path]:
    """Folders that killed processes left of making or replacing ``out``."""
    name = f".{out.name}."
    if not out.parent.is_dir():
        return []
    return [
        path
        for path in out.parent.iterdir()
        if path.name.startswith(name) and path.name.endswith((".part", ".old"))
    ]


def refuse_foreign(out: Path) -> None:
    """Refuse to replace what does not carry our own record.

    Raises:
        UserError: there is such a thing.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"{out}: is there and is not a folder; it will not be replaced")
    if out.is_dir() and any(out.iterdir()) and not any((out / name).is_file() for name in OURS):
        raise UserError(
            f"{out}: is there and was not made by videossl (it has no {RECORD}); it will not be "
            "replaced: move it away or give another --out"
        )


def publish(part: Path, out: Path) -> None:
    """Put ``part`` in the place of ``out``; one whole version is there at every moment.

    Files and folders reach the disk before the rename, and the rename before this returns.

    Raises:
        UserError: at ``out`` is something that was not made here.
    """
    refuse_foreign(out)
    sync_tree(part)
    if out.exists():
        if not _exchange(part, out):  # an old file system: for a moment neither is there
            old = out.with_name(f".{out.name}.{os.getpid()}.old")
            out.rename(old)
            part.rename(out)
            part = old
        sync_folder(out.parent)
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.rename(out)
        sync_folder(out.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(second))
