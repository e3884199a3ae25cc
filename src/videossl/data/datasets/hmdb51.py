"""HMDB51's official layout (Kuehne et al., ICCV 2011)::

    <root>/hmdb51_org/<class>/<video>.avi
    <root>/testTrainMulti_7030_splits/<class>_test_splitN.txt     "<video>.avi 1"

N = 1, 2, 3. The number behind a video is 1 where it trains, 2 where it tests and 0 where the split
does not use it; a video that no split uses is no entry. The classes are those that have a list,
in the order of their names.
"""

from __future__ import annotations

import re
from pathlib import Path

from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, folder, lines
from videossl.job import UserError

LABELS = {"class": "the class whose lists name the video"}
VIDEOS = "hmdb51_org"
LISTS = "testTrainMulti_7030_splits"
SPLITS = ("1", "2", "3")
PARTS = {"0": None, "1": "train", "2": "test"}
LINE = "`video.avi 1` (1 trains, 2 tests, 0 is not used)"
LIST_NAME = re.compile(r"(.+)_test_split([123])\.txt")
VIDEO_LINE = re.compile(r"([^/]+?)\s+(\S+)")  # names hold odd characters, the number is last


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: every video that some split uses, once.

    ``missing`` is the share of a split's videos that may be absent. Splits 2 and 3 may be absent
    as a whole; a split that is there has a list for every class. A line is odd that is malformed
    or names a video again.

    Raises:
        UserError: a folder or list is missing, too many lines of a list are odd, or videos are
            listed that are not there.
    """
    layout = f"HMDB51's layout has {VIDEOS} and {LISTS}"
    videos, official = folder(root / VIDEOS, layout), folder(root / LISTS, layout)
    lists = _find_lists(official)
    classes = sorted({name for name, _ in lists})
    labels = {name: label for label, name in enumerate(classes)}
    present = {path.relative_to(videos).as_posix() for path in videos.glob("*/*")}
    splits: dict[str, dict[str, str]] = {}
    gone: set[str] = set()
    odd: list[str] = []
    for split in SPLITS:
        parts: dict[str, str] = {}
        for name in classes:
            if path := lists.get((name, split)):
                rows = OddRows(path)
                listed = _read_list(path, rows)
                odd += rows.checked(missing, bool(listed), f"{LINE} a line")
                parts |= {f"{name}/{video}": part for video, part in listed.items() if part}
        absent = [name for name in parts if name not in present]
        source = official / f"*_test_split{split}.txt"
        check_complete(parts, absent, missing, source, videos, present)
        gone.update(absent)
        for name, part in parts.items():
            splits.setdefault(name, {})[split] = part
    entries = {name: Entry(name, labels[name.split("/")[0]], splits[name]) for name in splits}
    return build(classes, videos, entries, gone, odd=odd)


def _find_lists(official: Path) -> dict[tuple[str, str], Path]:
    """(class, split) -> list; every split that is there has the same classes."""
    matches = [(LIST_NAME.fullmatch(path.name), path) for path in sorted(official.iterdir())]
    found = {(match[1], match[2]): path for match, path in matches if match}
    if not found:
        raise UserError(f"{official}: found no list; expected <class>_test_split1.txt and so on")
    for split in sorted({"1"} | {split for _, split in found}):
        for name in sorted({name for name, _ in found}):
            if (name, split) not in found:
                path = official / f"{name}_test_split{split}.txt"
                raise UserError(f"{path}: not found; a split needs a list for every class")
    return found


def _read_list(path: Path, odd: OddRows) -> dict[str, str | None]:
    """Video -> part, None where the split does not use it."""
    listed: dict[str, str | None] = {}
    for number, line in lines(path, f"{LINE} a line"):
        with odd.row(number):
            match = VIDEO_LINE.fullmatch(line)
            if match is None or match[2] not in PARTS or match[1] in (".", ".."):
                raise OddRow(f"found {line!r}; expected {LINE}")
            if match[1] in listed:
                raise OddRow(f"{match[1]} is listed twice")
            listed[match[1]] = PARTS[match[2]]
    return listed
