"""Kinetics-400, -600 and -700 (Kay et al., 2017; Carreira et al., 2018 and 2019).

One of two forms. The official annotations with the clips of the usual downloads::

    <root>/annotations/{train,val}.csv    "abseiling,-3B32lodo2M,59,69,train,0" under the header
                                          "label,youtube_id,time_start,time_end,split,is_cc"
    <root>/{train,val}/<class>/-3B32lodo2M_000059_000069.mp4
    <root>/{train,val}/-3B32lodo2M_000059_000069.mp4

``is_cc`` and further columns are optional. A clip may have any extension and lie at any depth, so
class folders may be written with spaces or underscores or not be there; its class is the
annotation's. It may also be named by its video alone (``-3B32lodo2M.mp4``) where the list has one
clip of that video, and lists without the two times find either name. Classes are the training
list's, in the order of their names.

The lists that PySlowFast reads, paths relative to the root, classes numbered from 0::

    <root>/{train,val}.csv                "train/abseiling/-3B32lodo2M_000059_000069.mp4 0"

Here a class's name is its number. In both forms ``validate`` may stand for ``val``. The labelled
validation part is ``test`` here, as papers report it; the official test part is left out, because
its labels were withheld from the first release.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from videossl.data.datasets.files import inside, names_by_stem
from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, choice, folder, lines, meant, rows
from videossl.job import UserError

LABELS = {"class": "the class of the lists"}
ANNOTATIONS = "annotations"
COLUMNS = ("label", "youtube_id", "split")
TIMES = ("time_start", "time_end")
HEADER = "the header label,youtube_id,time_start,time_end,split and a row per clip"
PATH_LABEL = f"`path label`, the label a number (the official lists go into {ANNOTATIONS}/)"
LAYOUT = f"Kinetics' layout has {ANNOTATIONS}/train.csv and {ANNOTATIONS}/val.csv, or lists of \
`path label`, train.csv and val.csv"
# part -> names of its list and of its folder
PARTS = {"train": ("train",), "test": ("val", "validate")}
SUFFIX = re.compile(r"_[0-9]{6}_[0-9]{6}$")
SPLIT_FIELDS = {"train": ("train",), "test": ("val", "validate", "validation")}


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``, in whichever form its lists are.

    ``missing`` is the share of a list's clips that may be absent: dead links are normal. A row is
    odd that is malformed, names a clip again or a class that has no training clip, or stands for
    two files.

    Raises:
        UserError: lists of both forms or of none are there, one is missing, too many rows are odd,
            or clips are not there.
    """
    folder(root, LAYOUT)
    names = [f"{name}.csv" for stems in PARTS.values() for name in stems]
    official = [name for name in names if (root / ANNOTATIONS / name).is_file()]
    plain = [name for name in names if (root / name).is_file()]
    if official and plain:
        raise UserError(
            f"{root}: found both {ANNOTATIONS}/{official[0]} and {plain[0]}; "
            f"expected the lists of one form"
        )
    if official:
        return _read_official(root, missing)
    if plain:
        return _read_plain(root, missing)
    raise UserError(f"{root}: found no list; {LAYOUT}")


def _only(parent: Path, names: list[str], kind: str) -> Path:
    """The one of ``names`` that is in ``parent``."""
    found = [parent / name for name in names if (parent / name).exists()]
    if not found:
        raise UserError(f"{parent / names[0]}: {kind} not found; {LAYOUT}, with the clips")
    if len(found) > 1:
        raise UserError(f"{parent}: found both {names[0]} and {names[1]}; expected one of them")
    return found[0]


class _Clip(NamedTuple):
    number: int
    label: str
    video: str


def _read_official(root: Path, missing: float) -> Index:
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    odd: list[str] = []
    train: dict[str, _Clip] = {}
    labels: dict[str, int] = {}
    for part, stems in PARTS.items():
        path = _only(root / ANNOTATIONS, [f"{stem}.csv" for stem in stems], "list")
        videos = folder(_only(root, list(stems), "folder"), LAYOUT)
        odd_rows = OddRows(path)
        clips = _read_clips(path, part, train, odd_rows)
        if part == "train":
            train = clips
            names = sorted({clip.label for clip in clips.values()})
            labels = {name: label for label, name in enumerate(names)}
        found = _find(clips, videos, odd_rows)
        odd += odd_rows.checked(missing, bool(clips), HEADER)
        absent = [f"{videos.name}/{clip}.mp4" for clip in clips if clip not in found]
        check_complete(clips, absent, missing, path, videos)
        gone.update(absent)
        for clip, file in found.items():
            if file is not None:
                name = f"{videos.name}/{file}"
                entries[name] = Entry(name, labels[clips[clip].label], {"1": part})
    index = build(list(labels), root, entries, odd=odd)
    index.absent.extend(sorted(gone))
    return index


def _read_clips(path: Path, part: str, train: dict[str, _Clip], odd: OddRows) -> dict[str, _Clip]:
    """Clips by their file's name without extension; ``train`` holds those of the training list."""
    clips: dict[str, _Clip] = {}
    known = {clip.label for clip in train.values()}
    for number, row in rows(path, COLUMNS, HEADER, header=True, odd=odd):
        with odd.row(number):
            label, video = row["label"].strip(), row["youtube_id"].strip()
            if not label or not video:
                raise OddRow("found no label or youtube_id; expected both")
            choice(row["split"].strip(), SPLIT_FIELDS[part], "split")
            clip = video
            if all(key in row for key in TIMES):
                clip += "".join(f"_{_seconds(row[key]):06d}" for key in TIMES)
            if clip in clips:
                raise OddRow(f"clip {clip} is listed twice")
            if clip in train:
                raise OddRow(f"clip {clip} is also in the train list")
            if part == "test" and label not in known:
                hint = meant(label, known)
                raise OddRow(f"class {label!r} has no clip in the train list{hint}")
            clips[clip] = _Clip(number, label, video)
    return clips


def _find(clips: dict[str, _Clip], videos: Path, odd: OddRows) -> dict[str, str | None]:
    """Clip -> its file, of those that are there; None where several files could be it."""
    by_stem = names_by_stem(videos)
    by_video: dict[str, list[str]] = {}
    for stem, names in by_stem.items():
        by_video.setdefault(SUFFIX.sub("", stem), []).extend(names)
    times = Counter(clip.video for clip in clips.values())
    found: dict[str, str | None] = {}
    for stem, clip in clips.items():
        files = by_stem.get(stem, [])
        if not files and times[clip.video] == 1:
            files = (by_video if stem == clip.video else by_stem).get(clip.video, [])
        if len(files) > 1:
            odd.note(clip.number, f"found both {files[0]} and {files[1]}; expected one of them")
        if files:
            found[stem] = files[0] if len(files) == 1 else None
    return found


def _seconds(text: str) -> int:
    match = re.fullmatch(r"\s*([0-9]+)(\.0*)?\s*", text)
    if match is None:
        raise OddRow(f"found the time {text!r}; expected whole seconds")
    return int(match[1])


def _read_plain(root: Path, missing: float) -> Index:
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    odd: list[str] = []
    classes: list[str] = []
    for part, stems in PARTS.items():
        path = _only(root, [f"{stem}.csv" for stem in stems], "list")
        odd_rows = OddRows(path)
        listed: list[str] = []
        for number, line in lines(path, f"{PATH_LABEL} a line"):
            with odd_rows.row(number):
                name, label = _read_pair(line, root)
                if name in entries:
                    raise OddRow(f"{name} is listed twice")
                if part == "test" and label >= len(classes):
                    last = len(classes) - 1
                    raise OddRow(f"found label {label}; the training list's go from 0 to {last}")
                entries[name] = Entry(name, label, {"1": part})
                listed.append(name)
        odd += odd_rows.checked(missing, bool(listed), f"{PATH_LABEL} a line")
        if part == "train":
            classes = _numbered(path, {entry.label for entry in entries.values()})
        absent = [name for name in listed if not os.path.lexists(root / name)]
        check_complete(listed, absent, missing, path, root)
        gone.update(absent)
    return build(classes, root, entries, gone, odd=odd)


def _read_pair(line: str, root: Path) -> tuple[str, int]:
    """(name, label) of a line of ``path label``; a name may hold spaces."""
    match = re.fullmatch(r"(\S.*?)\s+([0-9]+)", line)
    if match is None:
        raise OddRow(f"found {line!r}; expected {PATH_LABEL}")
    name = inside(root, match[1])
    if name is None:
        raise OddRow(f"found path {match[1]!r}; expected one below the root")
    return name, int(match[2])


def _numbered(path: Path, labels: set[int]) -> list[str]:
    """The classes' names where only their numbers are known."""
    if labels != set(range(len(labels))):
        raise UserError(
            f"{path}: found {len(labels)} labels from {min(labels)} to {max(labels)}; "
            f"expected the numbers 0, 1, … in full"
        )
    return [str(label) for label in sorted(labels)]
