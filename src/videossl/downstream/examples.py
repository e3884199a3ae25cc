"""The examples of a test: which videos, or moments of them, with their targets and parts.

After ``select`` nothing knows of dataset formats: fine-tuning, features and protocols work on
examples. The table is a CSV file, a row per example:

    example    its number, from 0: what batches and predictions name it by
    video      name of the video, relative to the dataset's root
    frame      number of the stored frame that it is about; empty where it is a whole video
    target     number of its class; or JSON in the form of its kind (``kinds/``)
    class      names of its classes, for a reader
    split_1    part in official split 1: train, val, test or all; empty where it is in none
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.data.datasets.index import UNLABELLED
from videossl.data.datasets.prepare import ANNOTATIONS
from videossl.data.shards.store import ClipStore, Video
from videossl.job import UserError, write_json

TABLE, FACTS = "examples.csv", "examples.json"
SPLIT = "split_"
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """What the examples of a test are made of.

    Attributes:
        store: the dataset's stored videos.
        annotations: of each video by its name, of the dataset by ""; see ``datasets/index.py``.
        labels: which of the dataset's labels are asked for.
    """

    store: ClipStore
    annotations: dict[str, Any]
    labels: str

    @property
    def own(self) -> dict[str, Any]:
        """The annotations that belong to no single video."""
        found: dict[str, Any] = self.annotations.get("", {})
        return found

    @property
    def classes(self) -> list[str]:
        """Names of the classes of these labels; the dataset's, where it has one kind of labels."""
        found: list[str] = self.own.get("classes", {}).get(self.labels, self.store.classes)
        return found

    def label(self, video: Video) -> int:
        """The class of a video by these labels; ``UNLABELLED`` where it has none.

        Where the dataset names their classes, a video's annotations say which it has; otherwise the
        list of videos does.
        """
        if self.labels not in self.own.get("classes", {}):
            return video.label
        labels: dict[str, int] = self.annotations.get(video.name, {}).get("labels", {})
        return labels.get(self.labels, UNLABELLED)


def source(videos: Path, store: ClipStore, labels: str) -> Source:
    """The stored videos with what ``prepare`` wrote of them into the folder ``videos``."""
    path = videos / ANNOTATIONS
    found = json.loads(path.read_text(encoding="ascii")) if path.is_file() else {}
    return Source(store, found, labels)


@dataclass(frozen=True)
class Examples:
    """A test's examples, by number.

    Attributes:
        videos: name of each one's video.
        targets: (N,) int64, number of its class; or of each one its target, as its kind has it.
        classes: name of each class.
        parts: official split -> part of each example, "" where it has none.
        frames: (N,) number of the stored frame that it is about; ``None``: whole videos.
        facts: what the kind says of all of them, such as the classes that a metric averages.
    """

    videos: list[str]
    targets: Any
    classes: list[str]
    parts: dict[str, list[str]]
    frames: Numbers | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def part(self, split: int, part: str) -> Numbers:
        """The numbers of the examples in one part of an official split, ascending.

        Raises:
            UserError: there are none.
        """
        parts = self.parts.get(str(split), [])
        found = np.array([n for n, name in enumerate(parts) if name == part], np.int64)
        if not len(found):
            there = sorted({(s, p) for s, parts in self.parts.items() for p in parts if p})
            shown = ", ".join(f"{s} {p}" for s, p in there) or "none"
            raise UserError(f"no example in split {split} {part}; there are: {shown}")
        return found

    def stored(self, store: ClipStore, numbers: Sequence[int] | Numbers) -> list[int]:
        """The index in ``store`` of each example's video.

        Raises:
            UserError: the store is another dataset's.
        """
        try:
            return [store.number(self.videos[int(number)]) for number in numbers]
        except KeyError as error:
            raise UserError(
                f"{store.path}: has no video {error.args[0]!r}, which is an example of the test"
            ) from None

    def targets_of(self, numbers: Numbers) -> Any:
        """The targets of some examples: classes (N,), or of each one its target."""
        if isinstance(self.targets, np.ndarray):
            return self.targets[numbers]
        return [self.targets[number] for number in numbers.tolist()]

    def knowing(self, numbers: Collection[int] | Numbers) -> Examples:
        """The same examples without the targets of others than ``numbers``: -1, or ``None``.

        What learns is handed this, so that it cannot look at what it is tested on.
        """
        known = np.zeros(len(self.videos), bool)
        known[np.asarray(numbers, np.int64)] = True
        if isinstance(self.targets, np.ndarray):
            return replace(self, targets=np.where(known, self.targets, -1))
        kept = [target if known[n] else None for n, target in enumerate(self.targets)]
        return replace(self, targets=kept)


def several_hot(targets: Sequence[Any], classes: int) -> NDArray[np.bool_]:
    """Whether each example has each class, (N, classes), of targets with any number of them."""
    found = np.zeros((len(targets), classes), np.bool_)
    for row, target in zip(found, targets, strict=True):
        row[labels_of(target)] = True
    return found


def write(examples: Examples, facts: dict[str, Any], folder: Path) -> None:
    """Write the table, and beside it ``facts``: what the dataset is, its classes."""
    splits = sorted(examples.parts)
    # names may be any bytes, which Python keeps as surrogates
    with (folder / TABLE).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        header = ["example", "video", "frame", "target", "class"]
        table.writerow([*header, *(SPLIT + split for split in splits)])
        for number in range(len(examples.videos)):
            labels = labels_of(examples.targets[number])
            names = "; ".join(examples.classes[label] for label in labels)
            parts = [examples.parts[split][number] for split in splits]
            table.writerow([number, *columns(examples, number), names, *parts])
    own = {"classes": examples.classes, "facts": examples.facts}
    write_json(folder / FACTS, {**facts, **own})


def columns(examples: Examples, number: int) -> tuple[str, int | str, str]:
    """What tables show of an example: its video, frame and target."""
    frame = "" if examples.frames is None else int(examples.frames[number])
    target = examples.targets[number]
    plain = int(target) if isinstance(target, np.integer) else target
    return examples.videos[number], frame, json.dumps(plain, separators=(",", ":"))


def labels_of(target: Any) -> list[int]:
    """The classes of a target, each once, in order."""
    if isinstance(target, int | np.integer):
        return [int(target)]
    found: set[int] = set()
    for label in target.get("classes", []):
        found |= {*label} if isinstance(label, list) else {label}
    return sorted(found)


def read(folder: Path) -> Examples:
    """What ``write`` wrote.

    Raises:
        UserError: it is not there, or not such a table.
    """
    try:
        known = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        with (folder / TABLE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
        parts = {
            name.removeprefix(SPLIT): [row[name] for row in rows]
            for name in (rows[0] if rows else ())
            if name.startswith(SPLIT)
        }
        targets: Any = [json.loads(row["target"]) for row in rows]
        if all(isinstance(target, int) for target in targets):
            targets = np.array(targets, np.int64)
        numbers = [int(row["frame"]) for row in rows if row["frame"]]
        frames = np.array(numbers, np.int64) if numbers else None
        if frames is not None and len(frames) < len(rows):
            raise ValueError("some examples have a frame and some have none")
        videos = [row["video"] for row in rows]
        return Examples(videos, targets, known["classes"], parts, frames, known["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / TABLE}: not a table of examples: {error}") from None
