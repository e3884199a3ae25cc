"""AVA actions v2.2 in its official layout (Gu et al., CVPR 2018)::

    <root>/videos/**/<id>.mp4 (or any extension)    in any folders, such as trainval
    <root>/annotations/
        ava_{train,val}_v2.2.csv            "-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1"
        ava_{train,val}_excluded_timestamps_v2.2.csv                    "0f39OWEqJ24,0903"
        ava_action_list_v2.2.pbtxt                      label { name: "…" label_id: 1 … }
        ava_action_list_v2.2_for_activitynet_2019.pbtxt           item { name: "…" id: 1 }
        [person_box_*/]ava_{train,val}_predicted_boxes.csv, or
        [person_box_*/]ava_detection_{train,val}_boxes_and_labels*.csv
                                            "-5KQ66BBWC4,0902,0.1,0.2,0.3,0.9,12,0.996"

A row is a video, a second of it, a box (left, top, right, bottom as shares of the frame), an action
from 1 and a person; rows that differ in their action alone are one box. The last two files are
optional: the classes that are evaluated (all, where it is absent), and boxes of a person detector
with their score, as released with long-term feature banks (Wu et al., CVPR 2019) and SlowFast. The
action of a detected box is empty or -1 where none is known. Of several such files the one directly
in annotations is read, else the one of the last person_box folder (iou90, which is tested on), and
there predicted_boxes before the others, v2.2 before v2.1.

The files are whole films of an hour and more, annotated from minute 15 to 30. Only that part is
stored, with five seconds around it (``SPAN``); times count from the film's beginning all the same.

The validation list is the part ``test``; the test set's boxes are withheld and it is left out. An
entry's annotations are ``{"boxes": [{"time": int, "box": [x1, y1, x2, y2], "actions": [int from
0], "person": int}, …], "excluded": [time, …], "detections": [{"time": int, "box": […], "actions":
[…], "score": float}, …]}``, in the order of their times; the index's are ``{"evaluated": [class
from 0, …]}``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from videossl.data.datasets.files import names_by_stem
from videossl.data.datasets.index import UNLABELLED, Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, folder, lines, only
from videossl.data.datasets.prototext import read_labels
from videossl.job import UserError

LABELS = {"boxes": "persons, their boxes and actions, once a second"}
PARTS = {"train": "train", "val": "test"}
LAYOUT = "AVA's layout has videos and annotations"
CLASSES = "ava_action_list_v2.2.pbtxt"
EVALUATED = "ava_action_list_v2.2_for_activitynet_2019.pbtxt"
TIMES = range(902, 1799)  # annotated seconds of every video
SPAN = (895.0, 1805.0)  # seconds that are stored, with room for the clips around the outermost
BOX_ROW = "video_id,timestamp,x1,y1,x2,y2,action_id,person_id"
DETECTION_ROW = "video_id,timestamp,x1,y1,x2,y2,action_id or nothing,score"
EXCLUDED_ROW = "video_id,timestamp"
RANGES = f"timestamps are {TIMES[0]} to {TIMES[-1]}, 0 <= x1 <= x2 <= 1, y as x"

Box = tuple[float, float, float, float]
Found = dict[str, list[dict[str, Any]]]  # by video


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``: split "1", train as train, validation as test.

    ``missing`` is the share of a list's videos that may be absent. A row is odd that is malformed,
    has a time or box out of range or an unknown action, or a video of the other list or with two
    files.

    Raises:
        UserError: a folder or list is missing, a list of classes is malformed, too many rows are
            odd, or videos are not there.
    """
    videos, official = folder(root / "videos", LAYOUT), folder(root / "annotations", LAYOUT)
    classes = _read_classes(official / CLASSES)
    evaluated = _read_evaluated(official / EVALUATED, classes)
    present = names_by_stem(videos)
    entries: dict[str, Entry] = {}
    train: Found = {}
    gone: list[str] = []
    odd: list[str] = []
    for part, ours in PARTS.items():
        path = official / f"ava_{part}_v2.2.csv"
        rows = OddRows(path)
        train = boxes = _read_boxes(rows, len(classes), train, present)
        odd += rows.checked(missing, bool(boxes), f"a row `{BOX_ROW}` per line")
        absent = sorted(boxes.keys() - present.keys())
        check_complete(boxes, absent, missing, path, videos)
        gone += absent
        rows = OddRows(official / f"ava_{part}_excluded_timestamps_v2.2.csv")
        excluded = _read_excluded(rows)
        odd += rows.checked(missing, True, f"a row `{EXCLUDED_ROW}` per line")
        detections: Found = {}
        if file := _detections_file(official, part):
            rows = OddRows(file)
            detections = _read_detections(rows, len(classes), boxes)
            odd += rows.checked(missing, True, f"a row `{DETECTION_ROW}` per line")
            if not any(detections.values()):
                raise UserError(f"{file}: found no video of {path.name}; expected its videos")
        for video in boxes.keys() & present.keys():
            annotations = {
                "boxes": boxes[video],
                "excluded": sorted(excluded.get(video, ())),
                "detections": detections.get(video, []),
            }
            name = present[video][0]
            entries[name] = Entry(name, UNLABELLED, {"1": ours}, annotations, SPAN)
    index = build(classes, videos, entries, annotations={"evaluated": evaluated}, odd=odd)
    index.absent.extend(sorted(gone))
    return index


def _read_classes(path: Path) -> list[str]:
    """Action names in the order of their ids, which count from 1."""
    names = read_labels(path)
    if sorted(names) != list(range(1, len(names) + 1)):
        raise UserError(f"{path}: found {len(names)} classes; expected the ids 1, 2, … in full")
    return [names[label] for label in sorted(names)]


def _read_evaluated(path: Path, classes: list[str]) -> list[int]:
    """The classes that the benchmark evaluates, from 0; all where the file is absent."""
    if not path.is_file():
        return list(range(len(classes)))
    labels = sorted(read_labels(path))
    if unknown := [label for label in labels if not 1 <= label <= len(classes)]:
        raise UserError(f"{path}: found id {unknown[0]}; {CLASSES} has 1 to {len(classes)}")
    return [label - 1 for label in labels]


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


def _split(odd: OddRows, columns: str) -> Iterator[tuple[int, str, list[str]]]:
    """(line number, line, fields) of a list without header and without quotes."""
    for number, line in lines(odd.path, f"a row `{columns}` per line"):
        yield number, line, line.split(",")


def _bad(line: str, columns: str) -> OddRow:
    return OddRow(f"found {line!r}; expected `{columns}`: {RANGES}")


def _action(text: str, classes: int) -> int:
    """A class from 0."""
    action = int(text)
    if not 1 <= action <= classes:
        raise OddRow(f"found action {action}; {CLASSES} has 1 to {classes}")
    return action - 1


def _read_boxes(
    odd: OddRows, classes: int, train: Collection[str], present: Mapping[str, list[str]]
) -> Found:
    """The boxes of every listed video, by time, place and person; actions in order, once each.

    ``train`` has the videos of the training list after it, ``present`` the files of a video.
    """
    merged: dict[str, dict[tuple[int, Box, int], set[int]]] = {}
    for number, line, fields in _split(odd, BOX_ROW):
        with odd.row(number):
            try:
                video, time, x1, y1, x2, y2, action, person = fields
                key = (_time(time), _box(x1, y1, x2, y2), int(person))
                label = _action(action, classes)
            except ValueError:
                raise _bad(line, BOX_ROW) from None
            if video in train:
                raise OddRow(f"{video} is also in the train list")
            if video in present:
                only(present[video])
            merged.setdefault(video, {}).setdefault(key, set()).add(label)
    return {
        video: [
            {"time": time, "box": list(box), "actions": sorted(boxes[key]), "person": person}
            for key in sorted(boxes)
            for time, box, person in (key,)
        ]
        for video, boxes in merged.items()
    }


def _read_excluded(odd: OddRows) -> dict[str, set[int]]:
    """The seconds of every video that training and evaluation leave out."""
    excluded: dict[str, set[int]] = {}
    for number, line, fields in _split(odd, EXCLUDED_ROW):
        with odd.row(number):
            try:
                video, time = fields
                excluded.setdefault(video, set()).add(_time(time))
            except ValueError:
                raise _bad(line, EXCLUDED_ROW) from None
    return excluded


def _detections_file(official: Path, part: str) -> Path | None:
    """The file of a part's detections, the best one where there are several."""
    names = (f"ava_{part}_predicted_boxes.csv", f"ava_detection_{part}_boxes_and_labels*.csv")
    for place in (official, *sorted(official.glob("person_box_*"), reverse=True)):
        for name in names:
            if found := sorted(place.glob(name), key=lambda path: ("v2.2" not in path.name, path)):
                return found[0]
    return None


def _read_detections(odd: OddRows, classes: int, listed: Found) -> Found:
    """The detector's boxes of every listed video by time, best first.

    Rows of videos that the part's list does not name are left out.
    """
    merged: dict[str, dict[tuple[int, Box], tuple[float, set[int]]]] = {
        video: {} for video in listed
    }
    for number, line, fields in _split(odd, DETECTION_ROW):
        with odd.row(number):
            try:
                video, time, x1, y1, x2, y2, action, text = fields
                key, score = (_time(time), _box(x1, y1, x2, y2)), _fraction(text)
                actions = set() if action in ("", "-1") else {_action(action, classes)}
            except ValueError:
                raise _bad(line, DETECTION_ROW) from None
            if video in merged:
                best, known = merged[video].get(key, (0.0, set()))
                merged[video][key] = max(best, score), known | actions
    return {
        video: [
            {"time": time, "box": list(box), "actions": sorted(actions), "score": score}
            for (time, box), (score, actions) in sorted(
                boxes.items(), key=lambda item: (item[0][0], -item[1][0], item[0][1])
            )
        ]
        for video, boxes in merged.items()
    }
