"""Charades' official layout, version 1 (Sigurdsson et al., ECCV 2016)::

    <root>/Charades_v1_480/<id>.mp4             or Charades_v1, the original size
    <root>/Charades/Charades_v1_classes.txt     "c000 Holding some clothes"
    <root>/Charades/Charades_v1_train.csv       id,subject,scene,…,actions,length
    <root>/Charades/Charades_v1_test.csv        "46GP8,…,c092 11.90 21.20;c147 0.00 12.60,24.83"

A video has any number of actions, also none. Where both video folders are there, the smaller one,
Charades_v1_480, is used. The official test list is labelled and is the part ``test``.

An entry's annotations are ``{"actions": [{"class": int, "start": float, "end": float}, …],
"length": float}``, times and length in seconds. Some official actions end after their video does;
they stay as they are. Some, seven of the training list, end before they start: such an action is
odd and left out, its video stays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from videossl.data.datasets.index import UNLABELLED, Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, folder, lines, rows
from videossl.job import UserError

LABELS = {"classes": "the actions and when they happen"}
VIDEOS = ("Charades_v1_480", "Charades_v1")
LISTS = "Charades"
PARTS = ("train", "test")
EXPECTED = "Charades' CSV with the columns id, actions and length"
LAYOUT = f"Charades' layout has {VIDEOS[0]} (or {VIDEOS[1]}) and {LISTS}"
CLASS_LINE = re.compile(r"c(\d{3})\s+(\S.*)")
NUMBER = r"(\d+(?:\.\d+)?)"
ACTION = re.compile(rf"c(\d{{3}})\s+{NUMBER}\s+{NUMBER}")


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: split "1" with the official train and test videos.

    ``missing`` is the share of a list's videos that may be absent. A row is odd that has no id or
    length, or names a video again; so is an action that is malformed, of an unknown class, or ends
    before it starts, but it costs its video nothing else.

    Raises:
        UserError: a folder or list is missing, the list of classes is malformed, too many rows are
            odd, or videos are not there.
    """
    videos = root / VIDEOS[1]
    if (root / VIDEOS[0]).is_dir() or not videos.is_dir():
        videos = root / VIDEOS[0]
    folder(videos, LAYOUT)
    official = folder(root / LISTS, LAYOUT)
    classes = _read_classes(official / "Charades_v1_classes.txt")
    present = {path.name for path in videos.iterdir()}
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    odd: list[str] = []
    for part in PARTS:
        path = official / f"Charades_v1_{part}.csv"
        odd_rows = OddRows(path)
        listed = _read_list(path, len(classes), entries, odd_rows)
        odd += odd_rows.checked(missing, bool(listed), EXPECTED)
        absent = [name for name in listed if name not in present]
        check_complete(listed, absent, missing, path, videos)
        gone.update(absent)
        for name, labels in listed.items():
            entries[name] = Entry(name, UNLABELLED, {"1": part}, labels)
    return build(classes, videos, entries, gone, odd=odd)


def _read_classes(path: Path) -> list[str]:
    """Class names in the order of their official numbers, which count from 0."""
    classes: list[str] = []
    expected = "`c000 Class name` per line, numbered in order"
    for number, line in lines(path, expected):
        match = CLASS_LINE.fullmatch(line)
        if match is None or int(match[1]) != len(classes):
            raise UserError(f"{path}:{number}: found {line!r}; expected {expected}")
        classes.append(match[2])
    if not classes:
        raise UserError(f"{path}: found no class; expected {expected}")
    return classes


def _read_list(
    path: Path, classes: int, known: Collection[str], odd: OddRows
) -> dict[str, dict[str, Any]]:
    """File name -> annotations of the videos of one list; ``known`` are those of another list."""
    listed: dict[str, dict[str, Any]] = {}
    for number, row in rows(path, ("id", "actions", "length"), EXPECTED, header=True, odd=odd):
        with odd.row(number):
            name = f"{row['id']}.mp4"
            if not re.fullmatch(r"\w+", row["id"]):
                raise OddRow(f"found id {row['id']!r}; expected letters and digits")
            if name in listed:
                raise OddRow(f"{row['id']} is listed twice")
            if name in known:
                raise OddRow(f"{row['id']} is also in the {PARTS[0]} list")
            listed[name] = {
                "length": _length(row["length"]),
                "actions": _read_actions(row["actions"], classes, odd),
            }
    return listed


def _read_actions(text: str, classes: int, odd: OddRows) -> list[dict[str, Any]]:
    """The actions of one video, in the order in which they are listed."""
    actions: list[dict[str, Any]] = []
    for action in filter(None, (part.strip() for part in text.split(";"))):
        match = ACTION.fullmatch(action)
        if match is None:
            odd.add(f"found action {action!r}; expected `c092 11.90 21.20`")
            continue
        label, start, end = int(match[1]), float(match[2]), float(match[3])
        if label >= classes:
            last = f"c{classes - 1:03d}"
            odd.add(f"found action {action!r}; Charades_v1_classes.txt has c000 to {last}")
        elif start > end:
            odd.add(f"found action {action!r}; it ends before it starts")
        else:
            actions.append({"class": label, "start": start, "end": end})
    return actions


def _length(text: str) -> float:
    try:
        length = float(text)
    except ValueError:
        length = math.nan
    if not 0 < length < math.inf:
        raise OddRow(f"found length {text!r}; expected seconds above 0")
    return length
