"""Read motion out of the shards that ``motion`` made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videossl.data.shards import records
from videossl.data.shards.store import ClipStore
from videossl.job import UserError
from videossl.study.schema import Motion

ZERO, SCALE = 128.0, 127.0  # flow in 8 bit


def planes(options: Motion) -> int:
    """Images that stand above each other in one stored image."""
    return 2 if options.content == "flow" else 1


class MotionStore(ClipStore):
    """Motion as the stage stored it: the videos of its clips, in the same order.

    So an index means the same video in both. A stored image of flow is u above v.

    Attributes:
        options: how the motion was computed.
        planes: images above each other in a stored one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        manifest = json.loads((self.path / records.MANIFEST).read_text(encoding="utf-8"))
        self.options = Motion(**manifest["motion"])
        self.planes = planes(self.options)

    def check(self, clips: ClipStore) -> None:
        """Refuse motion of other videos.

        Raises:
            UserError: the motion is not that of ``clips``.
        """
        mine, theirs = ([(v.name, v.frames) for v in s.videos] for s in (self, clips))
        if mine != theirs:
            raise UserError(
                f"{self.path}: motion of {len(mine)} videos that are not the {len(theirs)} of "
                f"{clips.path}; run the stage motion on these"
            )

    def flow(self, video: int, frames: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Flow at some frames, (T, 2, H, W): u, v in pixels."""
        images = self.clip(video, frames)  # (T, 2H, W, 1)
        pairs = images.reshape(len(images), 2, -1, images.shape[2]).astype(np.float32)
        return (pairs - np.float32(ZERO)) * np.float32(self.options.bound / SCALE)

    def edges(self, video: int, frames: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Edges at some frames, (T, H, W), in pixels per pixel, up to ``bound``."""
        return self.clip(video, frames)[..., 0] * np.float32(self.options.bound / 255)
