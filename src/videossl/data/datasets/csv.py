"""One table of videos, for those that belong to no known dataset::

    <root>/videos.csv       "clips/a.mp4,archery,train" under the header "path,label,split"
                            or "clips/a.mp4,archery,3" under the header "path,label,fold"

``root`` may also be the CSV file itself, under any name. Columns may come in any order, and others
beside them are passed over. A path is relative to the CSV's folder, or absolute and below it; a
label is the class's name, a split is train, val or test; where no video is in test, val plays its
part. A table with a column fold and none called split is for cross-validation: there are as many
splits as folds, counted from 1 in the order of their names (of numbers: their own), and each tests
on its fold and trains on all others. Classes are in the order of their names. A path that leaves
the folder is odd; one that is a folder is an entry like any other, which decode lists among its
rejects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from videossl.data.datasets.files import folder_of, inside
from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, choice, rows
from videossl.job import UserError

LABELS = {"class": "the column label"}
NAME = "videos.csv"
COLUMNS = ("path", "label")
NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)  # of a fold
SPLIT, FOLD = "split", "fold"
PARTS = ("train", "val", "test")
EXPECTED = "the header path,label,split (or fold) and a row per video"


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
    table, column = _read_table(path, base, odd)
    if column == FOLD:
        lines = odd.checked(missing, bool(table), EXPECTED)
        splits = _folds(path, {name: fold for name, (_, _, fold) in table.items()}, lines)
    else:
        _leave_out_unlearned(table, odd)
        lines = odd.checked(missing, bool(table), EXPECTED)
        splits = _parts(path, {name: part for name, (_, _, part) in table.items()}, lines)
    classes = sorted({label for _, label, _ in table.values()})
    labels = {name: label for label, name in enumerate(classes)}
    entries = {
        name: Entry(name, labels[label], splits[name]) for name, (_, label, _) in table.items()
    }
    absent = [name for name in table if not os.path.lexists(base / name)]
    check_complete(table, absent, missing, path, base, _beside(base, absent))
    return build(classes, base, entries, absent, odd=lines)


def _beside(base: Path, absent: Sequence[str]) -> list[str]:
    """What is in the folder of the first absent video; nothing where that is absent too."""
    if not absent:
        return []
    parent = (base / absent[0]).parent
    names = list(parent.iterdir()) if parent.is_dir() else []
    return [name.relative_to(base).as_posix() for name in names]


def _leave_out_unlearned(table: dict[str, tuple[int, str, str]], odd: OddRows) -> None:
    """Note the rows of classes that no video of the training part has, and drop them."""
    learned = {label for _, label, part in table.values() if part == "train"}
    for name in [name for name, row in table.items() if learned and row[1] not in learned]:
        number, label, _ = table.pop(name)
        odd.note(number, f"class {label!r} has no video in train")


def _left_out(odd: Sequence[str]) -> str:
    """What an error adds where odd rows are left out, which may be why something is not there."""
    return f"; odd rows are left out ({len(odd)}), first: {odd[0]}" if odd else ""


def _parts(path: Path, parts: Mapping[str, str], odd: Sequence[str]) -> dict[str, dict[str, str]]:
    """Video -> its part in split 1; val plays test where nothing else does."""
    found = {*parts.values()}
    if "train" not in found or len(found) < 2:
        raise UserError(
            f"{path}: found {', '.join(sorted(found))}; "
            f"expected videos in train and in test or val{_left_out(odd)}"
        )
    played = {"val": "val" if "test" in found else "test"}
    return {name: {"1": played.get(part, part)} for name, part in parts.items()}


def _folds(path: Path, folds: Mapping[str, str], odd: Sequence[str]) -> dict[str, dict[str, str]]:
    """Video -> its part in each split: the n-th tests the n-th fold."""
    names = sorted({*folds.values()}, key=_order)
    if len(names) < 2:
        raise UserError(
            f"{path}: found the fold {names[0]} only; expected at least two{_left_out(odd)}"
        )
    return {
        video: {
            str(number): "test" if fold == tested else "train"
            for number, tested in enumerate(names, 1)
        }
        for video, fold in folds.items()
    }


def _order(fold: str) -> tuple[float, str]:
    """Numbers by their size, also as tables write them of which some are absent: 10.0 after 2.0."""
    return (float(fold) if NUMBER.fullmatch(fold) else 0, fold)


def _read_table(
    path: Path, base: Path, odd: OddRows
) -> tuple[dict[str, tuple[int, str, str]], str]:
    """Path -> (line, label, part or fold), each row checked by itself; and which of the two."""
    table: dict[str, tuple[int, str, str]] = {}
    column = SPLIT
    for number, row in rows(path, COLUMNS, EXPECTED, header=True, odd=odd):
        column = SPLIT if SPLIT in row else FOLD
        if column not in row:
            raise UserError(
                f"{path}:1: found no column {SPLIT!r} in {','.join(row)!r}; expected {EXPECTED}"
            )
        with odd.row(number):
            label, played = row["label"].strip(), row[column].strip()
            if not row["path"].strip() or not label:
                raise OddRow("found no path or label; expected both")
            if column == SPLIT:
                played = choice(played, PARTS, SPLIT)
            elif not played:
                raise OddRow("found no fold; expected its number or name")
            name = inside(base, row["path"])
            if name is None:
                raise OddRow(f"found path {row['path']!r}; expected one below the table's folder")
            if name in table:
                raise OddRow(f"{name} is listed twice")
            table[name] = (number, label, played)
    return table, column
