"""What each pretrained row's networks were given of some videos in the first step of training.

The pictures are those that ``pretrain`` kept (``batch.npz``), of the first seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from videossl.job import UserError
from videossl.report.inputs import Folder
from videossl.report.layout import Row
from videossl.report.strips import Strip, Strips

FILE = "batch.npz"
MOST_BYTES = 3 << 18  # of all strips of this part of the page


@dataclass(frozen=True)
class Clips:
    """What the page shows: a part per row, and the strips that they name.

    Attributes:
        left_out: titles of the rows whose strips would make the page too large.
    """

    parts: Sequence[dict[str, Any]]
    strips: Sequence[Strip]
    left_out: Sequence[str] = ()


NO_CLIPS = Clips((), ())


def build(encoders: Sequence[Folder], rows: Sequence[Row]) -> Clips:
    """The clips of the rows that have some, in the order of the rows.

    Args:
        encoders: outputs of ``pretrain`` and ``initialize``.
        rows: of the study.

    Raises:
        UserError: stored clips are damaged.
    """
    strips = Strips(prefix="clip")
    parts: list[dict[str, Any]] = []
    left_out: list[str] = []
    for row in rows:
        own = [one for one in encoders if one.key["row"] == row.name]
        if not own or not (own[0].path / FILE).exists():
            continue
        first = min(own, key=lambda one: int(one.key["seed"]))
        videos, clips = read(first.path / FILE)
        more = Strips(strips.found.copy(), "clip")
        lines = [
            {
                "name": name,
                "cells": [
                    {"strip": more.add((row.name, name, video), clip), "video": video}
                    for video, clip in zip(videos, of_videos, strict=True)
                ],
            }
            for name, of_videos in clips.items()
        ]
        if sum(len(one.data) for one in more.found.values()) > MOST_BYTES:
            left_out.append(row.title)
            continue
        strips = more
        parts.append(
            {"title": row.title, "seed": first.key["seed"], "videos": videos, "lines": lines}
        )
    return Clips(parts, [*strips.found.values()], left_out)


def read(path: Path) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
    """Names of the videos (V), and of each clip by its name (V, F, S, S, 3) RGB.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            videos = [str(name) for name in stored["videos"]]
            names = [str(name) for name in stored["names"]]
            clips = {name: stored[f"clip{number}"] for number, name in enumerate(names)}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    for name, clip in clips.items():
        if clip.dtype != np.uint8 or clip.ndim != 5 or clip.shape[::4] != (len(videos), 3):
            raise UserError(
                f"{path}: {name}: found {clip.dtype} of shape {clip.shape}; "
                f"must be uint8 of shape ({len(videos)}, frames, side, side, 3)"
            )
    return videos, clips
