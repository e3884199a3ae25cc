"""Videos with gaze: our own layout, because such data are mostly private (ultrasound and where
sonographers look: Jiao et al., ISBI 2020). It is that of ``datasets/frames.py`` with another file::

    <root>/videos/<name>.<ext>     in any folders
    <root>/splits.csv              header video,split              "a/scan1.mp4,train"
    <root>/gaze.csv                header video,frame,x,y          "a/scan1.mp4,31,0.512,0.25"
    [<root>/sigma.txt]             a degree of visual angle         "0.034"

A frame has any number of gaze points, shares of the frame's width and height from its top left
corner. A video may have none. A degree of visual angle is a share of the width; it is how wide the
Gaussian around a point is.

An entry's annotations are ``{"gaze": [[frame, x, y], …]}``, sorted; there are no classes. The
index's are ``{"sigma": share}`` where sigma.txt is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from videossl.data.datasets.frames import read_parts, table, video_frame
from videossl.data.datasets.index import UNLABELLED, Entry, Index, build
from videossl.data.datasets.lists import OddRow, OddRows
from videossl.job import UserError

LABELS = {"gaze": "points that were looked at, from gaze.csv"}
GAZE, SIGMA = "gaze.csv", "sigma.txt"
COLUMNS = ("video", "frame", "x", "y")


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``, whose split is "1".

    ``missing`` is the share of the videos in splits.csv that may be absent. A row is odd that is
    malformed, or has a video that splits.csv lacks or names again, or a point outside the frame.

    Raises:
        UserError: a folder or list is missing, too many rows are odd, videos are not there, or
            sigma.txt has no share.
    """
    videos, parts, absent, odd = read_parts(root, missing)
    rows = OddRows(root / GAZE)
    gaze = _read_gaze(rows, parts)
    expected = f"a CSV file with the columns {','.join(COLUMNS)}"
    odd += rows.checked(missing, bool(gaze), expected)
    entries = {
        name: Entry(name, UNLABELLED, {"1": part}, {"gaze": gaze.get(name, [])})
        for name, part in parts.items()
    }
    return build([], videos, entries, absent, _read_sigma(root / SIGMA), odd)


def _read_sigma(path: Path) -> dict[str, float] | None:
    """The index's annotations."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise UserError(f"{path}: found {text!r}; expected a share of the width, 0 to 1")
    return {"sigma": value}


def _read_gaze(odd: OddRows, parts: dict[str, str]) -> dict[str, list[Any]]:
    """By video its gaze points in the order of their frames."""
    found: dict[str, list[Any]] = {}
    for number, row in table(odd, COLUMNS):
        with odd.row(number):
            video, frame = video_frame(row, parts)
            point = [frame, _share(row["x"]), _share(row["y"])]
            found.setdefault(video, []).append(point)
    return {video: sorted(points) for video, points in found.items()}


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise OddRow(f"found {text!r}; expected a share of the frame, 0 to 1")
    return value
