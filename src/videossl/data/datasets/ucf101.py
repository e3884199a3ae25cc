"""UCF101's official layout (Soomro et al., CRCV-TR-12-01, 2012)::

    <root>/UCF-101/<Class>/<video>
    <root>/ucfTrainTestlist/classInd.txt        "1 ApplyEyeMakeup"
    <root>/ucfTrainTestlist/trainlist0N.txt     "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
    <root>/ucfTrainTestlist/testlist0N.txt      "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

N = 1, 2, 3; the built-in dataset is written in the same layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, folder, lines, meant
from videossl.job import UserError

LABELS = {"class": "the class of the lists"}
VIDEOS = "UCF-101"
LISTS = "ucfTrainTestlist"
SPLITS = ("1", "2", "3")
EXPECTED = "`Class/video.avi 1` a line"
CLASS_LINE = re.compile(r"(\d+)\s+(\S.*)")
VIDEO_LINE = re.compile(r"([^/]+/[^/]+?)(?:\s+(\d+))?")  # the class is the video's folder


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: every listed video once, whatever its splits.

    ``missing`` is the share of a list's videos that may be absent. A line is odd that is malformed
    or names an unknown class, another number than the class has, or a video that the split has
    already.

    Raises:
        UserError: a folder or list is missing, classInd.txt is malformed, too many lines are odd,
            or videos are listed that are not there.
    """
    layout = f"UCF101's layout has {VIDEOS} and {LISTS}"
    videos, official = folder(root / VIDEOS, layout), folder(root / LISTS, layout)
    classes = _read_classes(official / "classInd.txt")
    present = {path.relative_to(videos).as_posix() for path in videos.glob("*/*")}
    splits: dict[str, dict[str, str]] = {}
    gone: set[str] = set()
    odd: list[str] = []
    for split, part, path in _split_lists(official):
        rows = OddRows(path)
        listed = _read_list(path, classes, rows)
        for name, number in list(listed.items()):
            other = splits.setdefault(name, {}).setdefault(split, part)
            if other != part:
                rows.note(number, f"{name} is also in the {other} part of split {split}")
                del listed[name]
        odd += rows.checked(missing, bool(listed), EXPECTED)
        absent = [name for name in listed if name not in present]
        check_complete(listed, absent, missing, path, videos, present)
        gone.update(absent)
    labels = {name: label for label, name in enumerate(classes)}
    entries = {name: Entry(name, labels[name.split("/")[0]], splits[name]) for name in splits}
    return build(classes, videos, entries, gone, odd=odd)


def _split_lists(official: Path) -> Iterator[tuple[str, str, Path]]:
    """(split, part, list) of every split that is there; splits 2 and 3 may be absent as a whole."""
    for split in SPLITS:
        paths = {part: official / f"{part}list0{split}.txt" for part in ("train", "test")}
        absent = [path for path in paths.values() if not path.is_file()]
        if len(absent) == len(paths) and split != "1":
            continue
        if absent:
            raise UserError(f"{absent[0]}: not found; a split needs its train and its test list")
        for part, path in paths.items():
            yield split, part, path


def _read_classes(path: Path) -> list[str]:
    """Class names in the order of their official numbers, which count from 1."""
    found: dict[int, str] = {}
    for number, line in lines(path, "one `1 ClassName` a line"):
        match = CLASS_LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{path}:{number}: found {line!r}; expected `1 ClassName`")
        index, name = int(match[1]), match[2]
        if index in found or name in found.values():
            raise UserError(f"{path}:{number}: found {line!r}; its number or class is listed twice")
        found[index] = name
    if not found or sorted(found) != list(range(1, len(found) + 1)):
        raise UserError(f"{path}: found {len(found)} classes; expected the numbers 1, 2, … in full")
    return [found[index] for index in sorted(found)]


def _read_list(path: Path, classes: list[str], odd: OddRows) -> dict[str, int]:
    """Video -> its line, of one list."""
    numbers = {name: number for number, name in enumerate(classes, 1)}
    listed: dict[str, int] = {}
    for number, line in lines(path, EXPECTED):
        with odd.row(number):
            match = VIDEO_LINE.fullmatch(line)
            if match is None or match[1].endswith(("/..", "/.")):
                raise OddRow(f"found {line!r}; expected `Class/video.avi 1`")
            name, label = match[1], match[2]
            class_name = name.split("/")[0]
            if class_name not in numbers:
                hint = meant(class_name, numbers)
                raise OddRow(f"class {class_name!r} is not in classInd.txt{hint}")
            if label is not None and int(label) != numbers[class_name]:
                raise OddRow(f"found label {label}; classInd.txt has {numbers[class_name]}")
            if name in listed:
                raise OddRow(f"{name} is listed twice")
            listed[name] = number
    return listed
