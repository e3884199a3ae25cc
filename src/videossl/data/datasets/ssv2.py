"""Something-Something v2 (Goyal et al., ICCV 2017)::

    <root>/20bn-something-something-v2/<id>.webm
    <root>/labels/labels.json         {"Putting something on something": "118", …}
    <root>/labels/train.json          [{"id": "78687", "template": "Putting [something] on …"}, …]
    <root>/labels/validation.json     the same

The JSON files may lie directly under the root, and be named as they were at first:
``something-something-v2-labels.json`` and so on. A video's class is its template without the
brackets. The labelled validation part is ``test`` here, as papers report it; ``test.json`` has no
labels and is left out. Converted videos with another extension than .webm are found as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from videossl.data.datasets import by_stem
from videossl.data.datasets.by_stem import Form
from videossl.data.datasets.index import Index
from videossl.data.datasets.lists import OddRow, folder, load_json, meant
from videossl.job import UserError

LABELS = {"class": "the template of the lists"}
VIDEOS = "20bn-something-something-v2"
PLACES = ("labels/", "labels/something-something-v2-", "", "something-something-v2-")
PARTS = {"train": "train", "validation": "test"}
LABEL = '`"Putting something on something": "118"`'
VIDEO = '`{"id": "78687", "template": "Putting [something] on [something]"}`'


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: the training and the validation videos.

    ``missing`` is the share of a list's videos that may be absent. An entry is odd that is
    malformed, has an unknown template or an id that is listed already, or stands for two files.

    Raises:
        UserError: the folder or a list is missing or there twice, a list is not JSON, labels.json
            is malformed, too many entries are odd, or videos are listed that are not there.
    """
    videos = folder(root / VIDEOS, f"Something-Something v2's layout has {VIDEOS} and labels")
    classes = _read_classes(_find(root, "labels"))
    lists = {part: _find(root, source) for source, part in PARTS.items()}
    labels = {name: label for label, name in enumerate(classes)}
    form = Form(_rows, partial(_parse, labels=labels), f"a list of {VIDEO}", ".webm")
    return by_stem.read(videos, classes, lists, form, missing)


def _find(root: Path, name: str) -> Path:
    """The one file that holds the ``name`` list."""
    paths = [root / f"{place}{name}.json" for place in PLACES]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise UserError(f"{paths[0]}: not found; expected it there or as {paths[-1]}")
    if len(found) > 1:
        raise UserError(f"{root}: found both {found[0]} and {found[1]}; expected one of them")
    return found[0]


def _read_classes(path: Path) -> list[str]:
    """Class names in the order of their official numbers, which count from 0."""
    table = load_json(path, f"an object of {LABEL}")
    if not isinstance(table, dict):
        raise UserError(f"{path}: found a {type(table).__name__}; expected an object of {LABEL}")
    found: dict[int, str] = {}
    for name, number in table.items():
        if not str(number).isdecimal() or int(number) in found:
            raise UserError(f"{path}: found {name!r}: {number!r}; expected a number once: {LABEL}")
        found[int(number)] = name
    if not found or sorted(found) != list(range(len(found))):
        raise UserError(f"{path}: found {len(found)} classes; expected the numbers 0, 1, … in full")
    return [found[number] for number in sorted(found)]


def _rows(path: Path) -> list[tuple[str, Any]]:
    table = load_json(path, f"a list of {VIDEO}")
    if not isinstance(table, list) or not table:
        raise UserError(f"{path}: expected a list of {VIDEO}")
    return [(f"entry {number}", item) for number, item in enumerate(table, 1)]


def _parse(item: Any, labels: Mapping[str, int]) -> tuple[str, int]:
    fields = item if isinstance(item, dict) else {}
    video, template = fields.get("id"), fields.get("template")
    if not isinstance(video, str | int) or not isinstance(template, str):
        raise OddRow(f"found {json.dumps(item)[:100]}; expected {VIDEO}")
    name = template.replace("[", "").replace("]", "")
    if name not in labels:
        raise OddRow(f"template {template!r} is not in labels.json{meant(name, labels)}")
    return str(video), labels[name]
