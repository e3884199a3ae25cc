"""Videos with labelled frames: our own layout, because such data are mostly private (ultrasound
plane detection: Jiao et al., ISBI 2020)::

    <root>/videos/<name>.<ext>     in any folders
    <root>/splits.csv              header video,split              "a/scan1.mp4,train"
    <root>/frames.csv              header video,frame,class        "a/scan1.mp4,31,abdomen"

A video is named by its path under ``videos``; splits are train, val and test; frames count from 0
in the order in which they are decoded. A frame has one class. A video may have no labelled frame.
``datasets/gaze.py`` reads gaze points in the same layout; the files of both may be there.

An entry's annotations are ``{"frames": [[frame, class from 0], …]}``, sorted. Classes are in the
order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from videossl.data.datasets.files import inside
from videossl.data.datasets.index import UNLABELLED, Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, choice, folder, rows

LABELS = {"frame_class": "the class of a frame, from frames.csv"}
SPLITS, CLASSES = "splits.csv", "frames.csv"
PARTS = ("train", "val", "test")
LAYOUT = f"this layout has videos, {SPLITS} and {CLASSES} or gaze.csv"
SPLIT_COLUMNS = ("video", "split")
CLASS_COLUMNS = ("video", "frame", "class")


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``, whose split is "1".

    ``missing`` is the share of the videos in splits.csv that may be absent. A row is odd that is
    malformed, has a video that splits.csv lacks or names again, or a second class for a frame.

    Raises:
        UserError: a folder or list is missing, too many rows are odd, or videos are not there.
    """
    videos, parts, absent, odd = read_parts(root, missing)
    labelled = OddRows(root / CLASSES)
    classes, frames = _read_classes(labelled, parts)
    odd += labelled.checked(missing, bool(frames), _expected(CLASS_COLUMNS))
    entries = {
        name: Entry(name, UNLABELLED, {"1": part}, {"frames": frames.get(name, [])})
        for name, part in parts.items()
    }
    return build(classes, videos, entries, absent, odd=odd)


def read_parts(root: Path, missing: float) -> tuple[Path, dict[str, str], list[str], list[str]]:
    """The folder of the videos, video -> part, the absent ones, and what is odd in splits.csv."""
    videos = folder(root / "videos", LAYOUT)
    odd = OddRows(root / SPLITS)
    parts = _read_parts(odd, videos)
    lines = odd.checked(missing, bool(parts), _expected(SPLIT_COLUMNS))
    absent = [name for name in parts if not (videos / name).exists()]
    check_complete(parts, absent, missing, odd.path, videos)
    return videos, parts, absent, lines


def _expected(columns: tuple[str, ...]) -> str:
    return f"a CSV file with the columns {','.join(columns)}"


def table(odd: OddRows, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, fields) of the rows of one of this layout's files."""
    return rows(odd.path, columns, _expected(columns), header=True, odd=odd)


def _read_parts(odd: OddRows, videos: Path) -> dict[str, str]:
    """Video -> part."""
    parts: dict[str, str] = {}
    for number, row in table(odd, SPLIT_COLUMNS):
        with odd.row(number):
            name = inside(videos, row["video"])
            if name is None:
                raise OddRow(f"found video {row['video']!r}; expected a file under videos")
            part = choice(row["split"].strip(), PARTS, f"{name} and split")
            if name in parts:
                raise OddRow(f"{name} is listed twice")
            parts[name] = part
    return parts


def video_frame(row: dict[str, str], parts: dict[str, str]) -> tuple[str, int]:
    """A row's video and frame.

    Raises:
        OddRow: the video has no part, or the frame is no number.
    """
    name = PurePosixPath(row["video"]).as_posix()
    if name not in parts:
        raise OddRow(f"found video {row['video']!r}, which is not in {SPLITS}")
    text = row["frame"].strip()
    if not (text.isascii() and text.isdigit()):
        raise OddRow(f"found frame {row['frame']!r}; expected 0, 1, …")
    return name, int(text)


def _read_classes(odd: OddRows, parts: dict[str, str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Class names, and by video its frames in order, each with its class."""
    found: dict[str, dict[int, str]] = {}
    for number, row in table(odd, CLASS_COLUMNS):
        with odd.row(number):
            video, frame = video_frame(row, parts)
            name = row["class"].strip()
            if not name:
                raise OddRow("found no class; expected its name")
            if frame in found.get(video, ()):
                raise OddRow(f"frame {frame} of {video} is listed twice")
            found.setdefault(video, {})[frame] = name
    classes = sorted({name for frames in found.values() for name in frames.values()})
    labels = {name: label for label, name in enumerate(classes)}
    return classes, {
        video: [[frame, labels[frames[frame]]] for frame in sorted(frames)]
        for video, frames in found.items()
    }
