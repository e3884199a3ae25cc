"""Videos with labelled frames, or with gaze: our own layout, because such data are mostly private
(ultrasound plane detection and gaze: Jiao et al., ISBI 2020)::

    <root>/videos/<name>.<ext>     in any folders
    <root>/splits.csv              header video,split              "a/scan1.mp4,train"
    <root>/frames.csv              header video,frame,class        "a/scan1.mp4,31,abdomen"
    <root>/gaze.csv                header video,frame,x,y          "a/scan1.mp4,31,0.512,0.25"

``frames.csv`` (format ``frame_classes``) or ``gaze.csv`` (format ``gaze``) is there, not both. A
video is named by its path under ``videos``; splits are train, val and test; frames count from 0 in
the order in which they are decoded. A frame has one class but any number of gaze points, shares of
the frame's width and height from its top left corner. A video may have no labelled frame.

An entry's annotations are ``{"frames": [[frame, class from 0], …]}`` or ``{"gaze": [[frame, x, y],
…]}``, sorted. Classes are the sorted names; a gaze dataset has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from videossl.data.datasets.index import UNLABELLED, Entry, Index, build, check_complete
from videossl.data.datasets.lists import folder, rows
from videossl.job import UserError

SPLITS, CLASSES, GAZE = "splits.csv", "frames.csv", "gaze.csv"
PARTS = ("train", "val", "test")
LAYOUT = f"this layout has videos, {SPLITS} and either {CLASSES} or {GAZE}"
SPLIT_COLUMNS = ("video", "split")
CLASS_COLUMNS = ("video", "frame", "class")
GAZE_COLUMNS = ("video", "frame", "x", "y")


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``, whose split is "1".

    ``missing`` is the share of the videos in splits.csv that may be absent.

    Raises:
        UserError: a folder or list is missing, both of frames.csv and gaze.csv are there, a row is
            malformed, has a video that splits.csv lacks or a second class for a frame, or videos
            are not there.
    """
    videos = folder(root / "videos", LAYOUT)
    parts = _read_parts(root / SPLITS)
    absent = [name for name in parts if not (videos / name).exists()]
    check_complete(parts, absent, missing, root / SPLITS, videos)
    frames, gaze = root / CLASSES, root / GAZE
    if frames.is_file() == gaze.is_file():
        found = "both" if frames.is_file() else "none"
        raise UserError(f"{root}: found {found} of {CLASSES} and {GAZE}; expected one of them")
    classes: list[str] = []
    if frames.is_file():
        key = "frames"
        classes, labelled = _read_classes(frames, parts)
    else:
        key, labelled = "gaze", _read_gaze(gaze, parts)
    entries = {
        name: Entry(name, UNLABELLED, {"1": part}, {key: labelled.get(name, [])})
        for name, part in parts.items()
    }
    return build(classes, videos, entries, absent)


def _read_parts(path: Path) -> dict[str, str]:
    """Video -> part."""
    expected = f"a CSV file with the columns {','.join(SPLIT_COLUMNS)}"
    parts: dict[str, str] = {}
    for number, row in rows(path, SPLIT_COLUMNS, expected, header=True):
        name, part = row["video"], row["split"]
        if not name or part not in PARTS:
            raise UserError(
                f"{path}:{number}: found video {name!r} and split {part!r}; "
                f"expected a file under videos and {', '.join(PARTS)}"
            )
        if name in parts:
            raise UserError(f"{path}:{number}: {name} is listed twice")
        parts[name] = part
    if not parts:
        raise UserError(f"{path}: found no video; expected {expected}")
    return parts


def _frame(place: str, row: dict[str, str], parts: dict[str, str]) -> int:
    """A row's frame, after checking that its video is known."""
    if row["video"] not in parts:
        raise UserError(f"{place}: found video {row['video']!r}, which is not in {SPLITS}")
    text = row["frame"]
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{place}: found frame {text!r}; expected 0, 1, …")
    return int(text)


def _read_classes(path: Path, parts: dict[str, str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Class names, and by video its frames in order, each with its class."""
    expected = f"a CSV file with the columns {','.join(CLASS_COLUMNS)}"
    found: dict[str, dict[int, str]] = {}
    for number, row in rows(path, CLASS_COLUMNS, expected, header=True):
        place = f"{path}:{number}"
        frame = _frame(place, row, parts)
        name = row["class"].strip()
        if not name:
            raise UserError(f"{place}: found no class; expected its name")
        frames = found.setdefault(row["video"], {})
        if frame in frames:
            raise UserError(f"{place}: frame {frame} of {row['video']} is listed twice")
        frames[frame] = name
    if not found:
        raise UserError(f"{path}: found no frame; expected {expected}")
    classes = sorted({name for frames in found.values() for name in frames.values()})
    labels = {name: label for label, name in enumerate(classes)}
    return classes, {
        video: [[frame, labels[frames[frame]]] for frame in sorted(frames)]
        for video, frames in found.items()
    }


def _read_gaze(path: Path, parts: dict[str, str]) -> dict[str, list[Any]]:
    """By video its gaze points in the order of their frames."""
    expected = f"a CSV file with the columns {','.join(GAZE_COLUMNS)}"
    found: dict[str, list[Any]] = {}
    for number, row in rows(path, GAZE_COLUMNS, expected, header=True):
        place = f"{path}:{number}"
        frame = _frame(place, row, parts)
        point = [frame, _share(place, row["x"]), _share(place, row["y"])]
        found.setdefault(row["video"], []).append(point)
    if not found:
        raise UserError(f"{path}: found no gaze point; expected {expected}")
    return {video: sorted(points) for video, points in found.items()}


def _share(place: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserError(f"{place}: found {text!r}; expected a share of the frame, 0 to 1")
    return value
