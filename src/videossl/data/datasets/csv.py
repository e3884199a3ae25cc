"""One table of videos, for those that belong to no known dataset::

    <root>/videos.csv       "clips/a.mp4,archery,train" under the header "path,label,split"

``root`` may also be the CSV file itself, under any name. Columns may come in any order, and others
beside them are passed over. A path is relative to the CSV's folder, or absolute and below it; a
label is the class's name, a split is train, val or test; where no video is in test, val plays its
part. Classes are in the order of their names. A path that leaves the folder is odd; one that is a
folder is an entry like any other, which decode lists among its rejects.
"""

from __future__ import annotations

import os
from pathlib import Path

from videossl.data.datasets.files import folder_of, inside
from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, choice, rows
from videossl.job import UserError

LABELS = {"class": "the column label"}
NAME = "videos.csv"
COLUMNS = ("path", "label", "split")
PARTS = ("train", "val", "test")
EXPECTED = "the header path,label,split and a row per video"


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the table ``root``, or of ``videos.csv`` in the folder ``root``.

    ``missing`` is the share of the listed videos that may be absent. A row is odd without path or
    label, with another split, with a path outside the folder or listed before, or of a class that
    has no training video.

    Raises:
        UserError: the table is missing or not CSV, too many rows are odd, a part is empty, or
            videos are not there.
    """
    path = root if root.is_file() else root / NAME
    base = folder_of(path)
    odd = OddRows(path)
    table = _read_table(path, base, odd)
    classes = sorted({label for _, label, part in table.values() if part == "train"})
    labels = {name: label for label, name in enumerate(classes)}
    if "train" in {part for _, _, part in table.values()}:
        for name in [name for name, row in table.items() if row[1] not in labels]:
            number, label, _ = table.pop(name)
            odd.note(number, f"class {label!r} has no video in train")
    parts = {part for _, _, part in table.values()}
    lines = odd.checked(missing, bool(table), EXPECTED)
    if "train" not in parts or len(parts) < 2:
        found = ", ".join(sorted(parts))
        raise UserError(f"{path}: found {found}; expected videos in train and in test or val")
    entries: dict[str, Entry] = {}
    for name, (_, label, part) in table.items():
        played = "test" if part == "val" and "test" not in parts else part
        entries[name] = Entry(name, labels[label], {"1": played})
    absent = [name for name in table if not os.path.lexists(base / name)]
    check_complete(table, absent, missing, path, base)
    return build(classes, base, entries, absent, odd=lines)


def _read_table(path: Path, base: Path, odd: OddRows) -> dict[str, tuple[int, str, str]]:
    """Path -> (line, label, part), each row checked by itself."""
    table: dict[str, tuple[int, str, str]] = {}
    for number, row in rows(path, COLUMNS, EXPECTED, header=True, odd=odd):
        with odd.row(number):
            label = row["label"].strip()
            if not row["path"].strip() or not label:
                raise OddRow("found no path or label; expected both")
            part = choice(row["split"].strip(), PARTS, "split")
            name = inside(base, row["path"])
            if name is None:
                raise OddRow(f"found path {row['path']!r}; expected one below the table's folder")
            if name in table:
                raise OddRow(f"{name} is listed twice")
            table[name] = (number, label, part)
    return table
