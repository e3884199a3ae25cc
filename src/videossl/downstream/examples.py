"""The examples of a test: which videos, or moments of them, with their targets and parts.

After ``select`` nothing knows of dataset formats: fine-tuning, features and protocols work on
examples. The table is a CSV file, a row per example:

    example    its number, from 0: what batches and predictions name it by
    video      name of the video, relative to the dataset's root
    target     number of its class
    class      the class's name, for a reader
    split_1    part in official split 1: train, val, test or all; empty where it is in none
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.data.shards.store import ClipStore
from videossl.job import UserError, write_json

TABLE, FACTS = "examples.csv", "examples.json"
SPLIT = "split_"
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """A test's examples, by number.

    Attributes:
        videos: name of each one's video.
        targets: (N,) int64, number of its class.
        classes: name of each class.
        parts: official split -> part of each example, "" where it has none.
    """

    videos: list[str]
    targets: Numbers
    classes: list[str]
    parts: dict[str, list[str]]

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


def write(examples: Examples, facts: dict[str, Any], folder: Path) -> None:
    """Write the table, and beside it ``facts``: what the dataset is, its classes."""
    splits = sorted(examples.parts)
    # names may be any bytes, which Python keeps as surrogates
    with (folder / TABLE).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["example", "video", "target", "class", *(SPLIT + s for s in splits)])
        for number, (video, target) in enumerate(
            zip(examples.videos, examples.targets.tolist(), strict=True)
        ):
            parts = [examples.parts[split][number] for split in splits]
            table.writerow([number, video, target, examples.classes[target], *parts])
    write_json(folder / FACTS, {**facts, "classes": examples.classes})


def read(folder: Path) -> Examples:
    """What ``write`` wrote.

    Raises:
        UserError: it is not there, or not such a table.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        with (folder / TABLE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
        parts = {
            name.removeprefix(SPLIT): [row[name] for row in rows]
            for name in (rows[0] if rows else ())
            if name.startswith(SPLIT)
        }
        targets = np.array([int(row["target"]) for row in rows], np.int64)
        return Examples([row["video"] for row in rows], targets, facts["classes"], parts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / TABLE}: not a table of examples: {error}") from None
