"""What processes that were killed, or given up, left behind; and what of it nobody needs.

A folder in the making belongs to the process that holds its lock; without one it is left over.
Resume state below ``scratch/`` stays as long as a study needs the instance that it is of.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from videossl.study import ownership
from videossl.study.execution import SCRATCH
from videossl.study.grouped import PARTS
from videossl.study.publication import OURS
from videossl.study.stages import STAGES

MAKING = re.compile(r"^\.(?P<name>.+?)(\.\d+)?\.(part|old)$")
FINGERPRINT = re.compile(r"^[0-9a-f]{12}$")


def found(roots: Collection[Path], needed: Collection[Path]) -> list[Path]:
    """Files and folders that can go.

    Args:
        roots: trees of outputs.
        needed: ``<stage>/<key>/<fingerprint>`` of the instances whose resume state stays.
    """
    unfinished = [path for root in roots for path in _unfinished(root)]
    return [*unfinished, *_abandoned(needed), *_temporary()]


def _unfinished(root: Path) -> Iterator[Path]:
    """Outputs that nobody makes or removes any more."""
    for folder, names, files in os.walk(root):
        for name in sorted(names):
            match = MAKING.match(name)
            if match is not None:
                out = Path(folder, match["name"])
                if not ownership.held(ownership.lock_of_place(out)):
                    yield Path(folder, name)
        names[:] = [name for name in names if not name.startswith(".")]
        if {*OURS} & {*files}:  # an output: what is in it is its own
            names.clear()


def _abandoned(needed: Collection[Path]) -> Iterator[Path]:
    """Resume state, and finished parts of DVC's stages, of instances that no study has."""
    for base in (SCRATCH, PARTS):
        for stage in STAGES:
            for folder, names, _ in os.walk(base / stage):
                for name in sorted(filter(FINGERPRINT.match, names)):
                    names.remove(name)
                    path = Path(folder, name)
                    instance = path.relative_to(base)
                    lock = ownership.lock_of(*instance.parts)
                    if instance not in needed and not ownership.held(lock):
                        yield path


def _temporary() -> Iterator[Path]:
    """Notes that were not written to the end: the next one takes another name."""
    if SCRATCH.is_dir():
        yield from sorted(path for path in SCRATCH.iterdir() if MAKING.match(path.name))


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what is gone meanwhile counts nothing."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(file.lstat().st_size for file in files)


def remove(path: Path) -> None:
    """Remove it.

    Raises:
        OSError: the disk refuses.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
