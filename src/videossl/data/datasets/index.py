"""What a dataset adapter returns: which videos there are, their labels and their splits.

A format offers labels of one or more kinds; its adapter says which in ``LABELS``, a table from the
kind to what it is there. ``select`` reads labels in these forms, the same in ``annotations.json``
(which maps a video's name to its entry's annotations, and "" to the index's). Classes count from 0
in ``Index.classes``; times are seconds from the video's beginning; frames count from 0 in the order
in which they are decoded; boxes are [left, top, right, bottom], and points [x, y], as shares of the
frame's width and height from its top left corner.

``class`` and ``scene``: a class of a video
    ``Entry.label``, no annotations. Scenes have no split: all are in the part ``all`` of split 1.
    A dataset with several such labels has one of them so, and of the others by their names
    entry: ``{"labels": {labels: class, …}}``, without those that the video has not,
    index: ``{"classes": {labels: [name of class 0, …], …}}``.
``classes``: any number of classes of a video
    Entry: ``{"actions": [{"class": int, "start": float, "end": float}, …], "length": float}`` with
    0 <= start <= end, in the list's order; ``end`` may lie behind ``length``. The target of a clip
    is the set of classes whose time meets it, the target of a video that of all of them, which
    may be empty.
``boxes``: classes of boxes at a moment
    Entry: ``{"boxes": [{"time": float, "box": [x1, y1, x2, y2], "actions": [class, …], "person":
    int}, …], "excluded": [time, …], "detections": [{"time": float, "box": […], "actions": [class,
    …], "score": float}, …]}``, each in the order of the times, actions sorted, each once.
    ``boxes`` are the true ones; ``detections`` those of a detector, with the classes (perhaps
    none) that its file names. ``excluded`` times are neither trained on nor tested.
    Index: ``{"evaluated": [class, …]}``, sorted: the classes that the metric averages.
``pairs``: whether two videos show the same
    Index: ``{"pairs": [[name, name, same, fold], …]}``, same 0 or 1, folds from 1. All videos are
    in the part ``all`` of split 1: a fold is tested after training on the others.
``frame_class``: a class of a frame
    Entry: ``{"frames": [[frame, class], …]}``, sorted, a frame once.
``gaze``: points that were looked at
    Entry: ``{"gaze": [[frame, x, y], …]}``, sorted; a frame has any number of points.
    Index: perhaps ``{"sigma": float}``, a degree of visual angle as a share of the frame's width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videossl.job import UserError

UNLABELLED = -1


@dataclass(frozen=True)
class Entry:
    """One video of a dataset.

    ``name`` is a posix path relative to the index's root, ``label`` counts from 0 (``UNLABELLED``
    where a video has no single class), ``splits`` maps the official split to the part the video is
    in there: ``{"1": "train", "2": "test"}``. ``annotations`` is what the dataset's kind adds
    (times, boxes, ...), as JSON values in the form that this module's docstring gives. ``span``
    are the seconds of the file, from its first frame, that are stored: of films that are annotated
    in a part only; None: all.
    """

    name: str
    label: int
    splits: dict[str, str]
    annotations: Any = None
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Index:
    """A dataset's videos, sorted by name; ``classes[label]`` is a label's name.

    ``absent`` are listed videos that are not there, ``odd`` the annotations that were passed over,
    each as ``file:line: what was found``. ``annotations`` belong to no single video (ASLAN's
    pairs).
    """

    classes: list[str]
    root: Path
    entries: list[Entry]
    absent: list[str] = field(default_factory=list)
    annotations: Any = None
    odd: list[str] = field(default_factory=list)

    @property
    def spans(self) -> dict[str, tuple[float, float]]:
        """Of the videos that are stored in a part only, its seconds."""
        return {entry.name: entry.span for entry in self.entries if entry.span}


def check_complete(
    listed: Collection[str],
    absent: Sequence[str],
    allowed: float,
    source: Path,
    folder: Path,
    present: Collection[str] = (),
) -> None:
    """Refuse a tree in which more than the ``allowed`` share of the ``listed`` videos is absent.

    Raises:
        UserError: with counts and the first absent name; ``source`` lists them, ``folder`` should
            hold them. Where one of the names that are ``present`` differs from an absent one in
            upper and lower case only (UCF101's HandStandPushups), or in how its letters are
            composed (files that were copied from macOS), it is named.
    """
    if len(absent) <= allowed * len(listed):
        return
    limit = f" (data.<name>.missing allows a share of {allowed:g})" if allowed else ""
    spelt = {folded(name): name for name in present}
    alike = next(((n, spelt[folded(n)]) for n in absent if folded(n) in spelt), None)
    hint = f"; {alike[1]} is there: {difference(*alike)}" if alike else ""
    raise UserError(
        f"{len(absent)} of {len(listed)} videos listed in {source} "
        f"are not under {folder}{limit}; first: {absent[0]}{hint}"
    )


def folded(name: str) -> str:
    """A name without what a person overlooks: case, and how accents are composed (Unicode)."""
    return unicodedata.normalize("NFC", name).casefold()


def difference(one: str, other: str) -> str:
    """How two names differ that ``folded`` makes equal."""
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return "its letters are composed otherwise" if same else "upper and lower case differ"


def build(
    classes: list[str],
    root: Path,
    entries: Mapping[str, Entry],
    absent: Collection[str] = (),
    annotations: Any = None,
    odd: Sequence[str] = (),
) -> Index:
    """The index of the entries that are not ``absent``, in the order of their names."""
    gone = set(absent)
    kept = [entries[name] for name in sorted(entries) if name not in gone]
    return Index(classes, root, kept, sorted(gone), annotations, list(odd))
