"""What an output says about itself, and whether its files are still what they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videossl.job import UserError
from videossl.study.publication import CONTENTS, RECORD

# Files that hold durations: nothing depends on them, so that equal results are equal bytes.
ASIDE = (RECORD, CONTENTS, "speed.tsv")
NAMED = ("stage", "key", "fingerprint", "params", "files")  # what others read of a record
SHARDS = ".lmdb"  # frames in shards have checksums of their own, which every read checks

_checked: set[tuple[str, int, int]] = set()  # files that this process has found whole


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> size and SHA-256 of every file below ``folder`` that others may depend on."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ASIDE
    }


def sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> dict[str, Any]:
    """The record of an output.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found; the output is not whole: remove {folder} and run again"
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path}: damaged ({error}); remove {folder} and run the workflow again"
        ) from None
    if not isinstance(record, dict) or not set(NAMED) <= set(record):
        raise UserError(f"{path}: not a record of a stage; remove {folder} and run again")
    return record


def check(folder: Path, whole: bool = False) -> dict[str, Any]:
    """The record of an output whose files are all as they were written.

    Shards count by their size only, unless ``whole``.

    Raises:
        UserError: a file is absent, damaged or another's, naming it and what to remove.
    """
    record = read(folder)
    for name, facts in record["files"].items():
        _check(folder, name, facts, whole)
    return record


def _check(folder: Path, name: str, facts: Mapping[str, Any], whole: bool) -> None:
    path = folder / name
    try:
        found = path.stat()
    except OSError:
        raise UserError(f"{path}: absent; remove {folder} and run the workflow again") from None
    what = ""
    if found.st_size != facts["size"]:
        what = f"{found.st_size} bytes instead of {facts['size']}"
    elif whole or path.suffix != SHARDS:
        mark = (str(path), found.st_ino, found.st_mtime_ns)
        if mark in _checked:
            return
        if sha256(path) != facts["sha256"]:
            what = "other bytes than were written"
        else:
            _checked.add(mark)
    if what:
        raise UserError(f"{path}: damaged ({what}); remove {folder} and run the workflow again")
