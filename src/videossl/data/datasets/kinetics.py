"""Kinetics-400, -600 and -700 (Kay et al., 2017; Carreira et al., 2018 and 2019).

One of two forms. The official annotations with the clips of the usual downloads::

    <root>/annotations/{train,val}.csv    "abseiling,-3B32lodo2M,59,69,train,0" under the header
                                          "label,youtube_id,time_start,time_end,split,is_cc"
    <root>/{train,val}/<class>/-3B32lodo2M_000059_000069.mp4
    <root>/{train,val}/-3B32lodo2M_000059_000069.mp4

``is_cc`` and further columns are optional. A clip may have any extension and lie at any depth, so
class folders may be written with spaces or underscores or not be there; its class is the
annotation's. Classes are the training list's, in the order of their names.

The lists that PySlowFast reads, paths relative to the root, classes numbered from 0::

    <root>/{train,val}.csv                "train/abseiling/-3B32lodo2M_000059_000069.mp4 0"

Here a class's name is its number. In both forms ``validate`` may stand for ``val``. The labelled
validation part is ``test`` here, as papers report it; the official test part is left out, because
its labels were withheld from the first release.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import files_by_stem, folder, lines, rows
from videossl.job import UserError

ANNOTATIONS = "annotations"
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
HEADER = f"the header {','.join(COLUMNS)} and a row per clip"
PATH_LABEL = f"`path label`, the label a number (the official lists go into {ANNOTATIONS}/)"
LAYOUT = f"Kinetics' layout has {ANNOTATIONS}/train.csv and {ANNOTATIONS}/val.csv, or lists of \
`path label`, train.csv and val.csv"
# part -> names of its list and of its folder
PARTS = {"train": ("train",), "test": ("val", "validate")}
SPLIT_FIELDS = {"train": ("train",), "test": ("val", "validate", "validation")}


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``, in whichever form its lists are.

    ``missing`` is the share of a list's clips that may be absent: dead links are normal.

    Raises:
        UserError: lists of both forms or of none are there, one is missing, a row is malformed,
            names a clip again or a class that has no training clip, or clips are not there.
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


def _read_official(root: Path, missing: float) -> Index:
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    train: dict[str, str] = {}
    labels: dict[str, int] = {}
    for part, stems in PARTS.items():
        path = _only(root / ANNOTATIONS, [f"{stem}.csv" for stem in stems], "list")
        videos = folder(_only(root, list(stems), "folder"), LAYOUT)
        clips = _read_clips(path, part, train)
        if part == "train":
            train = clips
            labels = {label: index for index, label in enumerate(sorted(set(train.values())))}
        present = files_by_stem(videos)
        names = {clip: f"{videos.name}/{present.get(clip, f'{clip}.mp4')}" for clip in clips}
        absent = [names[clip] for clip in clips if clip not in present]
        check_complete(clips, absent, missing, path, videos)
        gone.update(absent)
        for clip, label in clips.items():
            entries[names[clip]] = Entry(names[clip], labels[label], {"1": part})
    return build(list(labels), root, entries, gone)


def _read_clips(path: Path, part: str, train: dict[str, str]) -> dict[str, str]:
    """Clip's file name without extension -> label; ``train`` holds those of the training list."""
    clips: dict[str, str] = {}
    known = set(train.values())
    for number, row in rows(path, COLUMNS, HEADER, header=True):
        label, split = row["label"].strip(), row["split"].strip()
        if not label or not row["youtube_id"]:
            raise UserError(f"{path}:{number}: found no label or youtube_id; expected both")
        if split not in SPLIT_FIELDS[part]:
            raise UserError(
                f"{path}:{number}: found split {split!r}; expected {SPLIT_FIELDS[part][0]}"
            )
        start, end = (_seconds(path, number, row[key]) for key in ("time_start", "time_end"))
        clip = f"{row['youtube_id']}_{start:06d}_{end:06d}"
        if clip in clips:
            raise UserError(f"{path}:{number}: clip {clip} is listed twice")
        if clip in train:
            raise UserError(f"{path}:{number}: clip {clip} is also in the train list")
        if part == "test" and label not in known:
            raise UserError(f"{path}:{number}: class {label!r} has no clip in the train list")
        clips[clip] = label
    if not clips:
        raise UserError(f"{path}: found no clip; expected {HEADER}")
    return clips


def _seconds(path: Path, number: int, text: str) -> int:
    if re.fullmatch(r"\s*[0-9]+\s*", text) is None:
        raise UserError(f"{path}:{number}: found the time {text!r}; expected whole seconds")
    return int(text)


def _read_plain(root: Path, missing: float) -> Index:
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    classes: list[str] = []
    for part, stems in PARTS.items():
        path = _only(root, [f"{stem}.csv" for stem in stems], "list")
        listed: list[str] = []
        for number, name, label in _read_pairs(path, root):
            if name in entries:
                raise UserError(f"{path}:{number}: {name} is listed twice")
            if part == "test" and label >= len(classes):
                raise UserError(
                    f"{path}:{number}: found label {label}; "
                    f"the training list's go from 0 to {len(classes) - 1}"
                )
            entries[name] = Entry(name, label, {"1": part})
            listed.append(name)
        if not listed:
            raise UserError(f"{path}: found no clip; expected {PATH_LABEL} a line")
        if part == "train":
            classes = _numbered(path, {entry.label for entry in entries.values()})
        absent = [name for name in listed if not os.path.lexists(root / name)]
        check_complete(listed, absent, missing, path, root)
        gone.update(absent)
    return build(classes, root, entries, gone)


def _read_pairs(path: Path, root: Path) -> Iterator[tuple[int, str, int]]:
    """(line number, name, label) of a list of ``path label``; a name may hold spaces."""
    for number, line in lines(path, f"{PATH_LABEL} a line"):
        match = re.fullmatch(r"(\S.*?)\s+([0-9]+)", line)
        if match is None:
            raise UserError(f"{path}:{number}: found {line!r}; expected {PATH_LABEL}")
        name = PurePosixPath(match[1])
        inside = name.relative_to(root) if name.is_relative_to(root) else name
        yield number, inside.as_posix(), int(match[2])


def _numbered(path: Path, labels: set[int]) -> list[str]:
    """The classes' names where only their numbers are known."""
    if labels != set(range(len(labels))):
        raise UserError(
            f"{path}: found {len(labels)} labels from {min(labels)} to {max(labels)}; "
            f"expected the numbers 0, 1, … in full"
        )
    return [str(label) for label in sorted(labels)]
