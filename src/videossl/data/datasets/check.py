"""What ``videossl check`` says about a dataset: its adapter runs, and no video is decoded."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Sequence

from videossl.data.datasets.files import expand, is_hidden, may_be_video, printable, walk
from videossl.data.datasets.index import Index
from videossl.data.datasets.prepare import Listing, size_of
from videossl.study.registry import DATASETS, LABELS
from videossl.study.schema import FolderData, SyntheticData

PARTS = ("train", "val", "test", "all")


def check(name: str, dataset: FolderData | SyntheticData, earlier: Listing | None = None) -> str:
    """What ``report`` says about the dataset called ``name``, after its adapter ran.

    Raises:
        UserError: what the format's adapter raises on bad lists and absent videos.
    """
    if isinstance(dataset, SyntheticData):
        return f"{name}: the built-in dataset is written by `prepare`; there is nothing to check"
    return report(name, dataset, read(dataset), earlier)


def read(dataset: FolderData) -> Index:
    """The dataset's index, by its format's adapter.

    Raises:
        UserError: lists are bad, or videos absent.
    """
    adapter = importlib.import_module(DATASETS[dataset.format])
    index: Index = adapter.read(expand(dataset.root), dataset.missing)
    return index


def report(name: str, dataset: FolderData, index: Index, earlier: Listing | None = None) -> str:
    """Lines for the terminal on the dataset called ``name``, the last one without a line end.

    Counts classes, videos by split and part, and bytes; names what is absent, what is odd in the
    lists, what no list names, the listed videos that ``decode`` is bound to reject (empty ones and
    what is no file that can be read), and classes without a video in a part of a split. With an
    ``earlier`` listing of ``prepare``, what has changed since then.
    """
    sizes = {entry.name: size_of(index.root / entry.name) for entry in index.entries}
    labels = ", ".join(f"{name} ({kind})" for name, kind in LABELS[dataset.format].items())
    unlisted = _unlisted(index)
    named_otherwise = [file for file in unlisted if not _candidate(file)]
    rejected = [video for video, size in sizes.items() if not size or not _readable(index, video)]
    lines = [
        f"{name}: format {dataset.format}, labels {labels}, root {printable(dataset.root)}",
        f"classes: {len(index.classes)}",
        f"videos: {len(index.entries)}, {sum(sizes.values()):,} bytes",
        *_split_lines(index),
        _listing("absent", index.absent, 5),
        *_odd_lines(index),
        *_listings("not in any list, left out", list(filter(_candidate, unlisted))),
        *_listings("no videos by their names, left out", named_otherwise),
        *_listings("empty or not a file, decode will reject them", rejected),
        *_empty_classes(index),
    ]
    if earlier is not None:
        lines += differences(earlier, index)
    return "\n".join(lines)


def differences(listed: Listing, index: Index) -> list[str]:
    """What has changed between an earlier ``prepare`` and the dataset as it is now, in lines.

    Added and removed videos, videos with another number of bytes, with another class or split, and
    other classes. Empty where nothing has; otherwise ``data.<name>.revision`` should be raised.
    """
    now = {entry.name: entry for entry in index.entries}
    both = [name for name in now if name in listed.videos]
    sizes = {name: size_of(index.root / name) for name in both}
    classes = [*index.classes, *("unlabelled",)]  # a label of -1 is the last one
    before = [*listed.classes, *("unlabelled",)]
    relabelled = [
        name
        for name in both
        if (classes[now[name].label], now[name].splits)
        != (before[listed.videos[name].label], listed.videos[name].splits)
    ]
    changes = [
        *_listings("added since prepare", [name for name in now if name not in listed.videos]),
        *_listings("removed since prepare", [name for name in listed.videos if name not in now]),
        *_listings(
            "changed size since prepare",
            [name for name in both if sizes[name] != listed.videos[name].bytes],
        ),
        *_listings("changed class or split since prepare", relabelled),
    ]
    if index.classes != listed.classes:
        changes.append(
            f"changed classes since prepare: {len(listed.classes)} then, {len(index.classes)} now"
        )
    return changes


def _split_lines(index: Index) -> list[str]:
    """One line per split: ``split 1: 9,537 train, 3,783 test``."""
    counts = Counter(place for entry in index.entries for place in entry.splits.items())
    return [
        f"split {split}: "
        + ", ".join(f"{counts[split, part]:,} {part}" for part in PARTS if counts[split, part])
        for split in sorted({split for split, _ in counts})
    ]


def _odd_lines(index: Index) -> list[str]:
    """How many annotations are odd, and the first few, a line each."""
    if not index.odd:
        return []
    shown = [f"  {printable(line)}" for line in index.odd[:5]]
    return [f"odd annotations, left out: {len(index.odd):,}; first:", *shown]


def _empty_classes(index: Index) -> list[str]:
    """A line per part of a split that lacks classes which other parts of the split have."""
    found: dict[str, dict[str, set[int]]] = {}
    for entry in index.entries:
        if entry.label >= 0:
            for split, part in entry.splits.items():
                found.setdefault(split, {}).setdefault(part, set()).add(entry.label)
    lines = []
    for split, parts in sorted(found.items()):
        every = set().union(*parts.values())
        for part in (part for part in PARTS if part in parts):
            names = [index.classes[label] for label in sorted(every - parts[part])]
            lines += _listings(f"classes without a video in split {split} {part}", names)
    return lines


def _unlisted(index: Index) -> list[str]:
    """Files under the index's root that are none of its videos, as sorted posix paths."""
    listed = {entry.name for entry in index.entries}
    found = (path.relative_to(index.root).as_posix() for path in walk(index.root))
    return sorted(
        name for name in found if name not in listed and not is_hidden(name.rpartition("/")[2])
    )


def _candidate(name: str) -> bool:
    return may_be_video(name.rpartition("/")[2])


def _readable(index: Index, name: str) -> bool:
    return os.access(index.root / name, os.R_OK)


def _listings(what: str, names: Sequence[str]) -> list[str]:
    """No line where there are no names."""
    return [_listing(what, names, 3)] if names else []


def _listing(what: str, names: Sequence[str], shown: int) -> str:
    """``absent: 12; first: a.avi, b.avi``."""
    first = "; first: " + ", ".join(map(printable, names[:shown])) if names else ""
    return f"{what}: {len(names):,}{first}"
