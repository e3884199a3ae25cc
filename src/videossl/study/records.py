"""What an output says about itself, and whether its files are still what they were."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from videossl.durable import sha256
from videossl.job import UserError, write_json
from videossl.study.publication import CONTENTS, RECORD

# Files that hold durations: nothing depends on them, so that equal results are equal bytes.
ASIDE = (RECORD, CONTENTS, "speed.tsv")
NAMED = ("stage", "key", "fingerprint", "params", "files")  # what others read of a record
SEAL = "sha256"  # of a record: the digest of all else in it
ARRAYS = ".npy"  # of features and tokens, which can be far larger than all that a report reads
SHARDS = ".lmdb"  # frames in shards have checksums of their own, which every read checks

_checked: set[tuple[str, int, int]] = set()  # files that this process has found whole


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> size and SHA-256 of every file below ``folder`` that others may depend on."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ASIDE
    }


def write(record: Mapping[str, Any], folder: Path) -> None:
    """Write the record of an output, sealed by its own digest."""
    write_json(folder / RECORD, {**record, SEAL: _seal(record)})


def _seal(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


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
    if record.get(SEAL) != _seal(record):
        raise UserError(
            f"{path}: damaged (other text than was written); remove {folder} and run again"
        )
    return record


def made_with(record: Mapping[str, Any], leaves: Mapping[str, Any]) -> bool:
    """Whether an output was made with these parameters; in a record they are as JSON has them."""
    return bool(record.get("params") == json.loads(json.dumps(leaves)))


def holds(folder: Path, fingerprint: str) -> bool:
    """Whether the whole output of that fingerprint is at ``folder``."""
    try:
        return bool(check(folder, whole=True)["fingerprint"] == fingerprint)
    except UserError:
        return False


def name(record: Mapping[str, Any]) -> str:
    """``<stage>/<key>`` of the instance that made an output."""
    return "/".join([record["stage"], *map(str, record["key"].values())])


def check(
    folder: Path,
    whole: bool = False,
    names: Collection[str] | None = None,
    arrays: bool = True,
) -> dict[str, Any]:
    """The record of an output whose files are all as they were written.

    Shards count by their size only, unless ``whole``; without ``arrays`` so do features and tokens,
    which whoever asks does not read. With ``names`` these files are looked at and no others.

    Raises:
        UserError: a file is absent, damaged or another's, naming it and what to remove.
    """
    record = read(folder)
    by_size = () if whole else (SHARDS,) if arrays else (SHARDS, ARRAYS)
    written = record["files"]
    for file in written if names is None else names:
        facts = written.get(file, {"size": "no"})  # none was written under that name
        if what := _wrong(folder / file, facts, by_size):
            raise UserError(
                f"{folder / file}: {what}; it is of the output of {name(record)}: "
                f"remove {folder} and run the workflow again"
            )
    return record


def _wrong(path: Path, facts: Mapping[str, Any], by_size: tuple[str, ...]) -> str:
    """What is wrong with a file; nothing, if it is what was written."""
    try:
        return _differs(path, facts, by_size)
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _differs(path: Path, facts: Mapping[str, Any], by_size: tuple[str, ...]) -> str:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return "damaged (no file)"
    if found.st_size != facts["size"]:
        return f"damaged ({found.st_size} bytes instead of {facts['size']})"
    mark = (str(path), found.st_ino, found.st_mtime_ns)
    if mark not in _checked and path.suffix not in by_size:
        if sha256(path) != facts["sha256"]:
            return "damaged (other bytes than were written)"
        _checked.add(mark)
    return ""
