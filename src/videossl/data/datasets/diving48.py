"""Diving48, version 2 (Li, Li and Vasconcelos, ECCV 2018; its labels were mended in 2020)::

    <root>/rgb/<name>.mp4                   or videos; any extension
    <root>/Diving48_vocab.json              [["Back", "15som", "05Twis", "FREE"], …], 48 of them
    <root>/Diving48_V2_train.json           [{"vid_name": "Ob0XAFaVIjA_00000", "label": 36,
    <root>/Diving48_V2_test.json              "start_frame": 0, "end_frame": 151}, …]

The JSON files may also lie in ``annotations``. A class is named by the four parts of its dive and
has the number of its place. The frame numbers say where a clip was cut out and are not read: a
file is one dive. The lists of version 1 (``Diving48_train.json``), many of whose labels are wrong,
are not read either.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from videossl.data.datasets import by_stem
from videossl.data.datasets.by_stem import Form
from videossl.data.datasets.index import Index
from videossl.data.datasets.lists import OddRow, folder, load_json
from videossl.job import UserError

LABELS = {"class": "the dive of the lists"}
VIDEOS = ("rgb", "videos")
PLACES = ("", "annotations/")
VOCABULARY = "Diving48_vocab.json"
PARTS = ("train", "test")
CLASS = '`["Back", "15som", "05Twis", "FREE"]`'
VIDEO = '`{"vid_name": "Ob0XAFaVIjA_00000", "label": 36}`'


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: the training and the test videos, split "1".

    ``missing`` is the share of a list's videos that may be absent. An entry is odd that is
    malformed, has an unknown label or a name that is listed already, or stands for two files.

    Raises:
        UserError: the folder or a list is missing or there twice, a list is not JSON, the
            vocabulary is malformed, too many entries are odd, or videos are not there.
    """
    videos = root / next((name for name in VIDEOS if (root / name).is_dir()), VIDEOS[0])
    folder(videos, f"Diving48's layout has {VIDEOS[0]} (or {VIDEOS[1]}) and {VOCABULARY}")
    classes = _read_classes(_find(root, VOCABULARY))
    lists = {part: _find(root, f"Diving48_V2_{part}.json") for part in PARTS}
    form = Form(_rows, partial(_parse, classes=len(classes)), f"a list of {VIDEO}", ".mp4")
    return by_stem.read(videos, classes, lists, form, missing)


def _find(root: Path, name: str) -> Path:
    """The one file called ``name``."""
    found = [root / f"{place}{name}" for place in PLACES if (root / f"{place}{name}").is_file()]
    if not found:
        raise UserError(f"{root / name}: not found; expected it there or in {PLACES[1]}")
    if len(found) > 1:
        raise UserError(f"{root}: found both {found[0]} and {found[1]}; expected one of them")
    return found[0]


def _read_classes(path: Path) -> list[str]:
    """Class names in the order of their numbers, which count from 0."""
    table = load_json(path, f"a list of {CLASS}")
    if not isinstance(table, list) or not table:
        raise UserError(f"{path}: expected a list of {CLASS}")
    classes: list[str] = []
    for number, parts in enumerate(table, 1):
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            found = json.dumps(parts)[:100]
            raise UserError(f"{path}: entry {number}: found {found}; expected {CLASS}")
        classes.append(" ".join(parts))
        if not classes[-1].strip():
            raise UserError(f"{path}: entry {number}: found no name; expected {CLASS}")
    return classes


def _rows(path: Path) -> list[tuple[str, Any]]:
    table = load_json(path, f"a list of {VIDEO}")
    if not isinstance(table, list):
        raise UserError(f"{path}: expected a list of {VIDEO}")
    return [(f"entry {number}", item) for number, item in enumerate(table, 1)]


def _parse(item: Any, classes: int) -> tuple[str, int]:
    fields = item if isinstance(item, dict) else {}
    video, label = fields.get("vid_name"), fields.get("label")
    if not isinstance(video, str) or not video or type(label) is not int:
        raise OddRow(f"found {json.dumps(item)[:100]}; expected {VIDEO}")
    if not 0 <= label < classes:
        raise OddRow(f"found label {label}; {VOCABULARY} has 0 to {classes - 1}")
    return video, label
