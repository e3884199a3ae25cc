"""What ``videossl check`` says about a dataset: its adapter runs, and no video is decoded."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from videossl.data.datasets.index import Index
from videossl.data.datasets.prepare import size_of
from videossl.study.registry import DATASETS, LABELS
from videossl.study.schema import FolderData, SyntheticData


def check(name: str, dataset: FolderData | SyntheticData) -> str:
    """Lines for the terminal on the dataset called ``name``, the last one without a line end.

    Counts classes, videos by split and part, and bytes; names what is absent, what no list names,
    and the listed videos that ``decode`` is bound to reject: empty ones and what is no file.

    Raises:
        UserError: what the format's adapter raises on bad lists and absent videos.
    """
    if isinstance(dataset, SyntheticData):
        return f"{name}: the built-in dataset is written by `prepare`; there is nothing to check"
    adapter = importlib.import_module(DATASETS[dataset.format])
    index: Index = adapter.read(Path(dataset.root), dataset.missing)
    sizes = {entry.name: size_of(index.root / entry.name) for entry in index.entries}
    kind = ", ".join(sorted(set(LABELS[dataset.format].values())))
    lines = [
        f"{name}: format {dataset.format}, kind {kind}, root {_printable(dataset.root)}",
        f"classes: {len(index.classes)}",
        f"videos: {len(index.entries)}, {sum(sizes.values()):,} bytes",
        *_split_lines(index),
        _listing("absent", index.absent, 5),
    ]
    if unlisted := _unlisted(index):
        lines.append(_listing("not in any list, left out", unlisted, 3))
    if rejected := [video for video, size in sizes.items() if not size]:
        lines.append(_listing("empty or not a file, decode will reject them", rejected, 3))
    return "\n".join(lines)


def _split_lines(index: Index) -> list[str]:
    """One line per split: ``split 1: 9,537 train, 3,783 test``."""
    counts = Counter(place for entry in index.entries for place in entry.splits.items())
    order = ("train", "val", "test", "all")
    return [
        f"split {split}: "
        + ", ".join(f"{counts[split, part]:,} {part}" for part in order if counts[split, part])
        for split in sorted({split for split, _ in counts})
    ]


def _unlisted(index: Index) -> list[str]:
    """Files under the index's root that are none of its videos, as sorted posix paths."""
    listed = {entry.name for entry in index.entries}
    found = (
        Path(parent, name).relative_to(index.root).as_posix()
        for parent, _, names in os.walk(index.root, followlinks=True)
        for name in names
    )
    return sorted(name for name in found if name not in listed)


def _listing(what: str, names: Sequence[str], shown: int) -> str:
    """``absent: 12; first: a.avi, b.avi``."""
    first = "; first: " + ", ".join(map(_printable, names[:shown])) if names else ""
    return f"{what}: {len(names):,}{first}"


def _printable(name: str) -> str:
    """A file name for the terminal: bytes that are no UTF-8 as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
