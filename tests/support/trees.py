"""Small dataset trees in an official layout; adapters never open a video, so theirs are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from videossl.data.datasets.index import Index


def plant(root: Path, texts: Mapping[str, str], videos: Iterable[str] = ()) -> Path:
    """Write the files ``texts`` and touch the ``videos``, all relative to ``root``."""
    for name, text in [*texts.items(), *((video, "") for video in videos)]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def odd_line(read: Callable[[Path], Index], root: Path) -> str:
    """The one odd annotation that an adapter passes over while the rest of the dataset loads."""
    index = read(root)
    (line,) = index.odd
    assert index.entries
    return line
