"""Read motion out of the shards that ``motion`` made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videossl.data.shards import records
from videossl.data.shards.store import ClipStore, Place
from videossl.job import UserError
from videossl.study.schema import Motion

ZERO, SCALE = 128.0, 127.0  # flow in 8 bit
NOWHERE = Place(-1, 0, 0, 0)  # of a video without motion


def planes(options: Motion) -> int:
    """Images that stand above each other in one stored image."""
    return 2 if options.content == "flow" else 1


class MotionStore(ClipStore):
    """Motion as the stage stored it; a stored image of flow is u above v.

    After ``check`` an index means the same video as in the store of the clips.

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
        """Refuse motion of other videos, and take over the numbers that videos have in ``clips``.

        Raises:
            UserError: the motion is not that of ``clips``.
        """
        mine = {video.name: number for number, video in enumerate(self.videos)}
        rejected = {reject["name"] for reject in self.rejects}
        theirs = {video.name for video in clips.videos}
        fits = theirs == mine.keys() | rejected and all(
            video.name in rejected or self.videos[mine[video.name]].frames == video.frames
            for video in clips.videos
        )
        if not fits:
            raise UserError(
                f"{self.path}: motion of {len(mine)} videos that are not the {len(theirs)} of "
                f"{clips.path}; run the stage motion on these"
            )
        places, videos = self._places, self.videos
        self._places = [places[mine[v.name]] if v.name in mine else NOWHERE for v in clips.videos]
        self.videos = [videos[mine[v.name]] if v.name in mine else v for v in clips.videos]
        self._numbers = None
        self.close()

    def missing(self, clips: ClipStore) -> set[str]:
        """The names of those videos of ``clips`` that have no motion here; see ``rejects``."""
        return {video.name for video in clips.videos} & {one["name"] for one in self.rejects}

    def clip(
        self,
        video: int,
        frames: Sequence[int] | NDArray[np.integer],
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """As ``ClipStore.clip``.

        Raises:
            UserError: the video has no motion; the line says why.
        """
        if self._places[video] == NOWHERE:
            name = self.videos[video].name
            (reason,) = (one["reason"] for one in self.rejects if one["name"] == name)
            raise UserError(f"{self.path}: no motion of {name}: {reason}")
        return super().clip(video, frames, out)

    def flow(self, video: int, frames: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Flow at some frames, (T, 2, H, W): u, v in pixels."""
        images = self.clip(video, frames)  # (T, 2H, W, 1)
        pairs = images.reshape(len(images), 2, -1, images.shape[2]).astype(np.float32)
        return (pairs - np.float32(ZERO)) * np.float32(self.options.bound / SCALE)

    def edges(self, video: int, frames: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Edges at some frames, (T, H, W), in pixels per pixel, up to ``bound``."""
        return self.clip(video, frames)[..., 0] * np.float32(self.options.bound / 255)
