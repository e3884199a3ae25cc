"""What a dataset adapter returns: which videos there are, their classes and their splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One video of a dataset.

    ``name`` is a posix path relative to the index's root, ``label`` counts from 0, ``splits`` maps
    the official split to the part the video is in there: ``{"1": "train", "2": "test"}``.
    """

    name: str
    label: int
    splits: dict[str, str]


@dataclass(frozen=True)
class Index:
    """A dataset's videos, sorted by name; ``classes[label]`` is a label's name."""

    classes: list[str]
    root: Path
    entries: list[Entry]
