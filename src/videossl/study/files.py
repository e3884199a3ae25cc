"""Content digests of files that parameters name, remembered by size and time of change."""

from __future__ import annotations

import os
from pathlib import Path

from videossl import durable
from videossl.job import UserError
from videossl.study import remembered

NO_FILE = ("random", "none", "")  # what stands for weights that come from no file
REMEMBERED = Path("scratch", "digests.json")


def named(value: str) -> bool:
    """Whether a value of ``weights`` names a file."""
    return value not in NO_FILE


def digest(path: Path) -> str:
    """SHA-256 of a file; "absent" where there is none, which the stage that reads it reports.

    Hashing a large checkpoint takes a second, and every command asks: digests are remembered in
    ``scratch/``, with what the file system says of the file.

    Raises:
        UserError: the file cannot be read.
    """
    path = path.expanduser()
    try:
        facts = path.stat()
    except OSError:
        return "absent"
    if not path.is_file():
        return "absent"
    mark = [facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_ctime_ns]
    known = remembered.read(REMEMBERED)
    name = os.path.realpath(path)
    if name in known and known[name][0] == mark:
        return str(known[name][1])
    try:
        found = durable.sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    known[name] = [mark, found]
    remembered.write(REMEMBERED, known)
    return found
