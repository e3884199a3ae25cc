"""FineGym's element level, Gym99 (Shao et al., CVPR 2020), and what Gym288 shares with it::

    <root>/videos/<element>.mp4                         or subactions; any extension, any depth
    <root>/annotations/gym99_categories.txt             "Clabel: 0; set: 1; Glabel: 1; (VT) …"
    <root>/annotations/gym99_train_element_v1.1.txt     "A0xAXXysHUo_E_002184_002237_A_0035_0036 65"
    <root>/annotations/gym99_val_element.txt            the same

The text files may also lie directly under the root; version 1.0 of the training list is read where
1.1 is not there. An element is named after its video, the event and the element in it, with their
times in seconds; the authors publish times and no clips, so a file per element, cut out with them,
is what is expected. The validation part is ``test`` here, as papers report it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from videossl.data.datasets import by_stem
from videossl.data.datasets.by_stem import Form
from videossl.data.datasets.index import Index
from videossl.data.datasets.lists import OddRow, folder, lines
from videossl.job import UserError

LABELS = {"class": "the element of the lists"}
VIDEOS = ("videos", "subactions")
PLACES = ("annotations", ".")
LISTS = {
    "train": ("{}_train_element_v1.1.txt", "{}_train_element_v1.0.txt"),
    "test": ("{}_val_element.txt",),
}
CLASS = "`Clabel: 0; set: 1; Glabel: 1; (VT) round-off`"
ELEMENT = "`A0xAXXysHUo_E_002184_002237_A_0035_0036 65`"
CLASS_LINE = re.compile(r"Clabel:\s*(\d+);\s*set:\s*\d+;\s*Glabel:\s*\d+;\s*(\S.*)")
ELEMENT_LINE = re.compile(r"(.+_E_\d+_\d+_A_\d+_\d+)\s+(\d+)")


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of Gym99 under ``root``, as ``read_release`` has it."""
    return read_release(root, missing, "gym99")


def read_release(root: Path, missing: float, release: str) -> Index:
    """The index of one ``release`` of the elements: training and validation, split "1".

    ``missing`` is the share of a list's elements that may be absent. A line is odd that is
    malformed, has an unknown label or an element that is listed already, or stands for two files.

    Raises:
        UserError: a folder or list is missing, the categories are malformed, too many lines are
            odd, or videos are not there.
    """
    videos = root / next((name for name in VIDEOS if (root / name).is_dir()), VIDEOS[0])
    folder(videos, f"FineGym's layout has {VIDEOS[0]} (or {VIDEOS[1]}) and {PLACES[0]}")
    classes = _read_classes(_find(root, f"{release}_categories.txt"))
    lists = {
        part: _find(root, *(name.format(release) for name in names))
        for part, names in LISTS.items()
    }
    form = Form(_rows, partial(_parse, classes=len(classes)), f"{ELEMENT} a line", ".mp4")
    return by_stem.read(videos, classes, lists, form, missing)


def _find(root: Path, *names: str) -> Path:
    """The first of the files ``names``, in the first of the ``PLACES``, that is there."""
    paths = [root / place / name for name in names for place in PLACES]
    for path in paths:
        if path.is_file():
            return path
    raise UserError(f"{paths[0]}: not found; expected it there or in {root}")


def _read_classes(path: Path) -> list[str]:
    """Class names in the order of their numbers, which count from 0."""
    classes: list[str] = []
    for number, line in lines(path, f"{CLASS} a line"):
        match = CLASS_LINE.fullmatch(line)
        if match is None or int(match[1]) != len(classes):
            raise UserError(f"{path}:{number}: found {line!r}; expected {CLASS}, numbered in order")
        classes.append(match[2])
    if not classes:
        raise UserError(f"{path}: found no class; expected {CLASS} a line")
    return classes


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    return lines(path, f"{ELEMENT} a line")


def _parse(line: str, classes: int) -> tuple[str, int]:
    match = ELEMENT_LINE.fullmatch(line)
    if match is None:
        raise OddRow(f"found {line!r}; expected {ELEMENT}")
    element, label = match[1], int(match[2])
    if label >= classes:
        raise OddRow(f"found label {label}; the categories go from 0 to {classes - 1}")
    return element, label
