"""AVA actions v2.2 in its official layout (Gu et al., CVPR 2018)::

    <root>/videos/**/<id>.mp4 (or any extension)    in any folders, such as trainval
    <root>/annotations/
        ava_{train,val}_v2.2.csv            "-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1"
        ava_{train,val}_excluded_timestamps_v2.2.csv                    "0f39OWEqJ24,0903"
        ava_action_list_v2.2.pbtxt                      label { name: "…" label_id: 1 … }
        ava_action_list_v2.2_for_activitynet_2019.pbtxt           item { name: "…" id: 1 }
        [person_box_*/]ava_{train,val}_predicted_boxes.csv
                                            "-5KQ66BBWC4,0902,0.1,0.2,0.3,0.9,,0.996"

A row is a video, a second of it, a box (left, top, right, bottom as shares of the frame), an action
from 1 and a person; rows that differ in their action alone are one box. The last two files are
optional: the classes that are evaluated (all, where it is absent), and boxes of a person detector
with their score, as released with long-term feature banks (Wu et al., CVPR 2019) and SlowFast.

The validation list is the part ``test``; the test set's boxes are withheld and it is left out. An
entry's annotations are ``{"boxes": [{"time": int, "box": [x1, y1, x2, y2], "actions": [int from
0], "person": int}, …], "excluded": [time, …], "detections": [{"time": int, "box": […], "score":
float}, …]}``, in the order of their times; the index's are ``{"evaluated": [class from 0, …]}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from videossl.data.datasets.index import UNLABELLED, Entry, Index, build, check_complete
from videossl.data.datasets.lists import files_by_stem, folder, lines
from videossl.job import UserError

PARTS = {"train": "train", "val": "test"}
LAYOUT = "AVA's layout has videos and annotations"
CLASSES = "ava_action_list_v2.2.pbtxt"
EVALUATED = "ava_action_list_v2.2_for_activitynet_2019.pbtxt"
TIMES = range(902, 1799)  # annotated seconds of every video
BOX_ROW = "video_id,timestamp,x1,y1,x2,y2,action_id,person_id"
DETECTION_ROW = "video_id,timestamp,x1,y1,x2,y2,,score"
EXCLUDED_ROW = "video_id,timestamp"
LABEL = re.compile(r"\s*(?:label|item)\s*\{([^{}]*)\}\s*")
LABEL_ID = re.compile(r"\b(?:label_)?id:\s*(\d+)")
LABEL_NAME = re.compile(r'\bname:\s*"([^"]+)"')
RANGES = f"timestamps are {TIMES[0]} to {TIMES[-1]}, 0 <= x1 <= x2 <= 1, y as x"

Box = tuple[float, float, float, float]
Found = dict[str, list[dict[str, Any]]]  # by video


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: split "1", train as train, validation as test.

    ``missing`` is the share of a list's videos that may be absent.

    Raises:
        UserError: a folder or list is missing, a row is malformed, has a time or box out of range
            or an unknown action, a video is in both lists or is not there, or there are several
            files of detections for one part.
    """
    videos, official = folder(root / "videos", LAYOUT), folder(root / "annotations", LAYOUT)
    classes = _read_classes(official / CLASSES)
    evaluated = _read_evaluated(official / EVALUATED, classes)
    present = files_by_stem(videos)
    entries: dict[str, Entry] = {}
    listed: set[str] = set()
    gone: list[str] = []
    for part, ours in PARTS.items():
        path = official / f"ava_{part}_v2.2.csv"
        boxes = _read_boxes(path, len(classes))
        if both := sorted(listed & boxes.keys()):
            raise UserError(f"{path}: {both[0]} is also in the train list")
        listed |= boxes.keys()
        absent = sorted(boxes.keys() - present.keys())
        check_complete(boxes, absent, missing, path, videos)
        gone += absent
        excluded = _read_excluded(official / f"ava_{part}_excluded_timestamps_v2.2.csv")
        detections = _read_detections(official, part, boxes)
        for video in boxes.keys() & present.keys():
            annotations = {
                "boxes": boxes[video],
                "excluded": sorted(excluded.get(video, ())),
                "detections": detections.get(video, []),
            }
            name = present[video]
            entries[name] = Entry(name, UNLABELLED, {"1": ours}, annotations)
    index = build(classes, videos, entries, annotations={"evaluated": evaluated})
    index.absent.extend(sorted(gone))
    return index


def _read_classes(path: Path) -> list[str]:
    """Action names in the order of their ids, which count from 1."""
    names = _read_labels(path)
    if sorted(names) != list(range(1, len(names) + 1)):
        raise UserError(f"{path}: found {len(names)} classes; expected the ids 1, 2, … in full")
    return [names[label] for label in sorted(names)]


def _read_evaluated(path: Path, classes: list[str]) -> list[int]:
    """The classes that the benchmark evaluates, from 0; all where the file is absent."""
    if not path.is_file():
        return list(range(len(classes)))
    labels = sorted(_read_labels(path))
    if unknown := [label for label in labels if not 1 <= label <= len(classes)]:
        raise UserError(f"{path}: found id {unknown[0]}; {CLASSES} has 1 to {len(classes)}")
    return [label - 1 for label in labels]


def _read_labels(path: Path) -> dict[int, str]:
    """Id -> name of the labels of a protocol buffer in text form."""
    expected = 'label { name: "bend/bow" label_id: 1 } or item { name: "bend/bow" id: 1 }'
    numbered = dict(lines(path, expected))
    text = "\n".join(numbered.get(number, "") for number in range(1, max(numbered, default=0) + 1))
    found: dict[int, str] = {}
    position = 0
    while position < len(text):
        number = text.count("\n", 0, position) + 1
        label = LABEL.match(text, position)
        fields = label[1] if label else ""
        label_id, name = LABEL_ID.search(fields), LABEL_NAME.search(fields)
        if label is None or label_id is None or name is None:
            raise UserError(f"{path}:{number}: found {numbered[number]!r}; expected {expected}")
        if int(label_id[1]) in found:
            raise UserError(f"{path}:{number}: id {label_id[1]} is listed twice")
        found[int(label_id[1])] = name[1]
        position = label.end()
    if not found:
        raise UserError(f"{path}: found no label; expected {expected}")
    return found


def _fraction(text: str) -> float:
    """A number in 0..1, or ValueError."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


# The lists have millions of coordinates of three decimals: read each once, keep one float of it.
_coordinate = lru_cache(maxsize=1 << 16)(_fraction)


def _time(text: str) -> int:
    time = int(text)
    if time not in TIMES:
        raise ValueError
    return time


def _box(x1: str, y1: str, x2: str, y2: str) -> Box:
    box = _coordinate(x1), _coordinate(y1), _coordinate(x2), _coordinate(y2)
    if box[0] > box[2] or box[1] > box[3]:
        raise ValueError
    return box


def _split_rows(path: Path, columns: str) -> Iterator[tuple[int, str, list[str]]]:
    """(line number, line, fields) of a list without header and without quotes."""
    for number, line in lines(path, f"a row `{columns}` per line"):
        yield number, line, line.split(",")


def _bad_row(path: Path, number: int, line: str, columns: str) -> UserError:
    return UserError(f"{path}:{number}: found {line!r}; expected `{columns}`: {RANGES}")


def _read_boxes(path: Path, classes: int) -> Found:
    """The boxes of every listed video, by time, place and person; actions in order, once each."""
    merged: dict[str, dict[tuple[int, Box, int], set[int]]] = {}
    for number, line, fields in _split_rows(path, BOX_ROW):
        try:
            video, time, x1, y1, x2, y2, action, person = fields
            key = (_time(time), _box(x1, y1, x2, y2), int(person))
            label = int(action)
        except ValueError:
            raise _bad_row(path, number, line, BOX_ROW) from None
        if not 1 <= label <= classes:
            raise UserError(f"{path}:{number}: found action {label}; {CLASSES} has 1 to {classes}")
        merged.setdefault(video, {}).setdefault(key, set()).add(label - 1)
    if not merged:
        raise UserError(f"{path}: found no box; expected a row `{BOX_ROW}` per line")
    return {
        video: [
            {"time": time, "box": list(box), "actions": sorted(boxes[key]), "person": person}
            for key in sorted(boxes)
            for time, box, person in (key,)
        ]
        for video, boxes in merged.items()
    }


def _read_excluded(path: Path) -> dict[str, set[int]]:
    """The seconds of every video that training and evaluation leave out."""
    excluded: dict[str, set[int]] = {}
    for number, line, fields in _split_rows(path, EXCLUDED_ROW):
        try:
            video, time = fields
            excluded.setdefault(video, set()).add(_time(time))
        except ValueError:
            raise _bad_row(path, number, line, EXCLUDED_ROW) from None
    return excluded


def _read_detections(official: Path, part: str, listed: Found) -> Found:
    """The detector's boxes of every listed video by time, best first; none without a file.

    Rows of videos that the part's list does not name are left out, unless all are: then it is the
    file of another part.
    """
    name = f"ava_{part}_predicted_boxes.csv"
    paths = sorted([*official.glob(name), *official.glob(f"person_box_*/{name}")])
    if not paths:
        return {}
    if len(paths) > 1:
        raise UserError(f"{paths[1]}: there is {paths[0]} too; expected one file {name}")
    found: Found = {video: [] for video in listed}
    for number, line, fields in _split_rows(paths[0], DETECTION_ROW):
        try:
            video, time, x1, y1, x2, y2, action, score = fields
            if action:
                raise ValueError
            box = {"time": _time(time), "box": [*_box(x1, y1, x2, y2)], "score": _fraction(score)}
        except ValueError:
            raise _bad_row(paths[0], number, line, DETECTION_ROW) from None
        if video in found:
            found[video].append(box)
    if not any(found.values()):
        raise UserError(f"{paths[0]}: found no video of ava_{part}_v2.2.csv; expected its videos")
    for boxes in found.values():
        boxes.sort(key=lambda box: (box["time"], -box["score"], box["box"]))
    return found
