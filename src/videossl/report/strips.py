"""Videos as strips of a few small frames, for a page that loads nothing else."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from videossl.data.shards.store import ClipStore

FRAMES = 6  # the style sheet shows them one after the other
SIDE = 48  # pixels
QUALITY = 55  # of WebP


@dataclass(frozen=True)
class Strip:
    """A video's frames side by side: the name of its class in the style sheet, and a data URI."""

    name: str
    data: str


@dataclass
class Strips:
    """The strips of a page: one for each video, however often it is shown."""

    found: dict[tuple[str, str], Strip] = field(default_factory=dict)

    def of(self, store: ClipStore, dataset: str, video: str) -> str:
        """The name of a video's strip, which is made if it is not there yet.

        Raises:
            KeyError: the store has no video of that name.
            CorruptShard: its stored bytes are damaged.
        """
        place = (dataset, video)
        if place not in self.found:
            picture = draw(store, store.number(video))
            name = f"strip-{len(self.found)}"
            self.found[place] = Strip(name, f"data:image/webp;base64,{_webp(picture)}")
        return self.found[place].name


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
    squares = clip[:, top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    small = [cv2.resize(square, (SIDE, SIDE), interpolation=how) for square in squares]
    strip = np.concatenate([one.reshape(SIDE, SIDE, -1) for one in small], axis=1)
    return np.ascontiguousarray(np.broadcast_to(strip, (*strip.shape[:2], 3)), np.uint8)


def _webp(picture: NDArray[np.uint8]) -> str:
    """RGB (H, W, 3) as WebP in base64."""
    done, data = cv2.imencode(".webp", picture[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    if not done:
        raise ValueError("OpenCV wrote no WebP")
    return base64.b64encode(data.tobytes()).decode("ascii")
