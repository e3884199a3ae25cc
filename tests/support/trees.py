"""Small dataset trees in an official layout; adapters never open a video, so theirs are empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def plant(root: Path, texts: Mapping[str, str], videos: Iterable[str] = ()) -> Path:
    """Write the files ``texts`` and touch the ``videos``, all relative to ``root``."""
    for name, text in [*texts.items(), *((video, "") for video in videos)]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root
