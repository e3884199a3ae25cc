"""Videos as strips of a few small frames, for a page that loads nothing else."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from videossl.data.shards.store import ClipStore

FRAMES = 6  # of a stored video; the style sheet shows them one after the other
SIDE = 48  # pixels
QUALITY = 55  # of WebP


@dataclass(frozen=True)
class Strip:
    """Frames side by side: the name of its class in the style sheet, a data URI, their number."""

    name: str
    data: str
    frames: int


@dataclass
class Strips:
    """Strips of a page: one for each video or clip, however often it is shown.

    Attributes:
        prefix: what the names of all begin with.
    """

    found: dict[tuple[str, ...], Strip] = field(default_factory=dict)
    prefix: str = "strip"

    def of(self, store: ClipStore, dataset: str, video: str) -> str:
        """The name of a video's strip, which is made if it is not there yet.

        Raises:
            KeyError: the store has no video of that name.
            CorruptShard: its stored bytes are damaged.
        """
        place = (dataset, video)
        if place not in self.found:
            self._keep(place, draw(store, store.number(video)))
        return self.found[place].name

    def add(self, place: tuple[str, ...], clip: NDArray[np.uint8]) -> str:
        """The name of the strip of a clip (F, S, S, 3) RGB; ``place`` is what tells it apart."""
        if place not in self.found:
            self._keep(place, side_by_side(clip))
        return self.found[place].name

    def _keep(self, place: tuple[str, ...], picture: NDArray[np.uint8]) -> None:
        name, frames = f"{self.prefix}-{len(self.found)}", picture.shape[1] // SIDE
        self.found[place] = Strip(name, f"data:image/webp;base64,{webp(picture)}", frames)


def draw(store: ClipStore, video: int) -> NDArray[np.uint8]:
    """(SIDE, FRAMES * SIDE, 3) RGB: frames spread evenly over a video, of each the middle square.

    Raises:
        CorruptShard: the stored bytes are damaged.
    """
    count = store.videos[video].frames
    clip = store.clip(video, np.linspace(0, count - 1, FRAMES).round().astype(int))
    height, width = clip.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return side_by_side(clip[:, top : top + side, left : left + side])


def side_by_side(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Square frames (F, S, S, 3 or 1) as one picture (SIDE, F * SIDE, 3); a single one twice."""
    squares = squares if len(squares) > 1 else squares.repeat(2, axis=0)
    how = cv2.INTER_AREA if squares.shape[1] > SIDE else cv2.INTER_LINEAR
    small = [cv2.resize(square, (SIDE, SIDE), interpolation=how) for square in squares]
    strip = np.concatenate([one.reshape(SIDE, SIDE, -1) for one in small], axis=1)
    return np.ascontiguousarray(np.broadcast_to(strip, (*strip.shape[:2], 3)), np.uint8)


def webp(picture: NDArray[np.uint8]) -> str:
    """RGB (H, W, 3) as WebP in base64."""
    done, data = cv2.imencode(".webp", picture[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    if not done:
        raise ValueError("OpenCV wrote no WebP")
    return base64.b64encode(data.tobytes()).decode("ascii")
