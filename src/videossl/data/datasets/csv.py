"""One table of videos, for those that belong to no known dataset::

    <root>/videos.csv       "clips/a.mp4,archery,train" under the header "path,label,split"

``root`` may also be the CSV file itself, under any name. Columns may come in any order, and others
beside them are passed over. A path is relative to the CSV's folder, a label is the class's name,
a split is train, val or test; where no video is in test, val plays its part. Classes are in the
order of their names. A path that leaves the folder, or is a folder, is an entry like any other:
decode lists it among its rejects.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import rows
from videossl.job import UserError

NAME = "videos.csv"
COLUMNS = ("path", "label", "split")
PARTS = ("train", "val", "test")
EXPECTED = "the header path,label,split and a row per video"


class _Row(NamedTuple):
    number: int
    label: str
    part: str


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the table ``root``, or of ``videos.csv`` in the folder ``root``.

    ``missing`` is the share of the listed videos that may be absent.

    Raises:
        UserError: the table is missing or not CSV, a row is malformed, names a video again or a
            class that has no training video, a part is empty, or videos are not there.
    """
    path = root / NAME if root.is_dir() else root
    table = _read_table(path)
    parts = {row.part for row in table.values()}
    if "train" not in parts or len(parts) < 2:
        found = ", ".join(sorted(parts)) or "no row"
        raise UserError(f"{path}: found {found}; expected videos in train and in test or val")
    classes = sorted({row.label for row in table.values() if row.part == "train"})
    labels = {name: label for label, name in enumerate(classes)}
    entries: dict[str, Entry] = {}
    for name, row in table.items():
        if row.label not in labels:
            raise UserError(f"{path}:{row.number}: class {row.label!r} has no video in train")
        part = "test" if row.part == "val" and "test" not in parts else row.part
        entries[name] = Entry(name, labels[row.label], {"1": part})
    absent = [name for name in table if not os.path.lexists(path.parent / name)]
    check_complete(table, absent, missing, path, path.parent)
    return build(classes, path.parent, entries, absent)


def _read_table(path: Path) -> dict[str, _Row]:
    """Path -> row, each checked by itself."""
    table: dict[str, _Row] = {}
    for number, row in rows(path, COLUMNS, EXPECTED, header=True):
        label, part = row["label"].strip(), row["split"].strip()
        if not row["path"].strip() or not label:
            raise UserError(f"{path}:{number}: found no path or label; expected both")
        if part not in PARTS:
            raise UserError(f"{path}:{number}: found split {part!r}; expected train, val or test")
        name = PurePosixPath(row["path"]).as_posix()
        if name in table:
            raise UserError(f"{path}:{number}: {name} is listed twice")
        table[name] = _Row(number, label, part)
    return table
