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
from collections.abc import Collection, Mapping
from pathlib import Path

from videossl.data.datasets.files import names_by_stem
from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, folder, load_json, only
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
    present = names_by_stem(videos)
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    odd: list[str] = []
    listed: dict[str, int] = {}
    for part in PARTS:
        path = _find(root, f"Diving48_V2_{part}.json")
        rows = OddRows(path)
        listed = _read_list(rows, len(classes), present, listed)
        odd += rows.checked(missing, bool(listed), f"a list of {VIDEO}")
        for video, label in listed.items():
            name = present.get(video, [f"{video}.mp4"])[0]
            entries[name] = Entry(name, label, {"1": part})
        absent = [f"{video}.mp4" for video in listed if video not in present]
        check_complete(listed, absent, missing, path, videos)
        gone.update(absent)
    return build(classes, videos, entries, gone, odd=odd)


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


def _read_list(
    odd: OddRows, classes: int, present: Mapping[str, list[str]], train: Collection[str]
) -> dict[str, int]:
    """Video's name -> label, of one list; ``train`` holds the training list's names after it."""
    table = load_json(odd.path, f"a list of {VIDEO}")
    if not isinstance(table, list):
        raise UserError(f"{odd.path}: expected a list of {VIDEO}")
    found: dict[str, int] = {}
    for number, item in enumerate(table, 1):
        with odd.row(f"entry {number}"):
            fields = item if isinstance(item, dict) else {}
            video, label = fields.get("vid_name"), fields.get("label")
            if not isinstance(video, str) or not video or type(label) is not int:
                raise OddRow(f"found {json.dumps(item)[:100]}; expected {VIDEO}")
            if not 0 <= label < classes:
                raise OddRow(f"found label {label}; {VOCABULARY} has 0 to {classes - 1}")
            if video in found:
                raise OddRow(f"video {video} is listed twice")
            if video in train:
                raise OddRow(f"video {video} is also in the train list")
            only(present.get(video, [""]))
            found[video] = label
    return found
