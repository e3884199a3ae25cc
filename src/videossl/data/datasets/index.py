"""What a dataset adapter returns: which videos there are, their classes and their splits."""

from __future__ import annotations

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
    (times, boxes, ...), as JSON values; the adapter documents it.
    """

    name: str
    label: int
    splits: dict[str, str]
    annotations: Any = None


@dataclass(frozen=True)
class Index:
    """A dataset's videos, sorted by name; ``classes[label]`` is a label's name.

    ``absent`` are listed videos that are not there. ``annotations`` belong to no single video
    (ASLAN's pairs).
    """

    classes: list[str]
    root: Path
    entries: list[Entry]
    absent: list[str] = field(default_factory=list)
    annotations: Any = None


def check_complete(
    listed: Collection[str], absent: Sequence[str], allowed: float, source: Path, folder: Path
) -> None:
    """Refuse a tree in which more than the ``allowed`` share of the ``listed`` videos is absent.

    Raises:
        UserError: with counts and the first absent name; ``source`` lists them, ``folder`` should
            hold them.
    """
    if len(absent) > allowed * len(listed):
        limit = f" (data.<name>.missing allows a share of {allowed:g})" if allowed else ""
        raise UserError(
            f"{len(absent)} of {len(listed)} videos listed in {source} "
            f"are not under {folder}{limit}; first: {absent[0]}"
        )


def build(
    classes: list[str],
    root: Path,
    entries: Mapping[str, Entry],
    absent: Collection[str] = (),
    annotations: Any = None,
) -> Index:
    """The index of the entries that are not ``absent``, in the order of their names."""
    gone = set(absent)
    kept = [entries[name] for name in sorted(entries) if name not in gone]
    return Index(classes, root, kept, sorted(gone), annotations)
