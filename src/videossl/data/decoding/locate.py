"""Find a listed video on disk, and refuse what is no readable file before a decoder opens it."""

from __future__ import annotations

import errno
import stat
from pathlib import Path, PurePosixPath

NOT_REGULAR = {
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Unreadable(Exception):
    """The file holds no video that can be decoded; the message says why."""


def locate(root: Path, name: str) -> Path:
    """The file that ``name``, relative to ``root``, stands for: a regular file that can be read.

    Symbolic links may lead anywhere, because people link disks; ``name`` itself may not.

    Raises:
        Unreadable: it is none. Opening anything else could block (FIFO) or never end (/dev/zero).
    """
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise Unreadable("its path leaves the dataset's folder")
    path = root / relative
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return path
    except OSError as error:
        raise Unreadable(_no_access(path, error)) from None
    if stat.S_ISDIR(mode):
        raise Unreadable("a folder")
    raise Unreadable(f"not a regular file ({NOT_REGULAR[stat.S_IFMT(mode)]})")


def _no_access(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "not found: a symbolic link to nothing" if path.is_symlink() else "not found"
    if error.errno == errno.ELOOP:
        return "symbolic link loop"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not readable: permission denied"
    return str(error.strerror)
