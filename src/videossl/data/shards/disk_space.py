"""Whether the disk can hold the shards, before hours are spent, and what is said where not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from videossl.data.datasets.prepare import Listed
from videossl.job import UserError

SAMPLE = 8  # videos that are decoded for the estimate, spread over the list
MARGIN = 1.1
AMPLE = 200  # bytes free per byte of video at which there is nothing to estimate


class Pool(Protocol):
    """Decodes videos, as ``isolate.ordered`` does."""

    def __call__(self, names: Sequence[str], *, children: int) -> Iterator[Any]:
        """A result per name; one with the ``bytes`` that it takes where there is one to store."""


def check(folder: Path, videos: Sequence[Listed], pool: Pool, children: int) -> None:
    """Estimate the size of the videos' shards in ``folder`` from a few of them.

    Raises:
        UserError: more is needed than the disk has free.
    """
    total = sum(video.bytes for video in videos)
    free = shutil.disk_usage(folder).free
    if free >= AMPLE * total:
        return
    step = -(-len(videos) // SAMPLE)
    sample = videos[::step]
    results = pool([video.name for video in sample], children=children)
    stored = [
        (result.bytes, video.bytes)
        for video, result in zip(sample, results, strict=True)
        if hasattr(result, "bytes")
    ]
    if not stored:
        return
    needed = MARGIN * total * sum(r for r, _ in stored) / sum(b for _, b in stored)
    if needed > free:
        raise UserError(
            f"{folder}: the shards of {len(videos)} videos need about {needed / 1e9:.3g} GB and "
            f"{free / 1e9:.3g} GB are free; decode.short_side, decode.quality or decode.fps "
            "make them smaller"
        )


@contextmanager
def explained(folder: Path, advice: str = "") -> Iterator[None]:
    """Errors of writing into ``folder`` in one line: what is wrong and how much the disk has free.

    Raises:
        UserError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        text = f"{folder}: {error.strerror or error} ({free / 1e9:.3g} GB are free there)"
        raise UserError(f"{text}; {advice}" if advice else text) from None
