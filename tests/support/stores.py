"""A clip store without files."""

from __future__ import annotations

import numpy as np

from videossl.data.loading.sampling import ClipRequest, window


class Video:
    def __init__(self, k: int) -> None:
        self.frames, self.height, self.width, self.label = 10 + k, 20, 24 + 2 * (k % 3), k % 4


class Store:
    """Each pixel of a video holds its index, each frame its own in the first corner."""

    videos = tuple(Video(k) for k in range(11))
    channels, planes = 3, 1

    def clip(self, video, frames, out=None):
        info = self.videos[video]
        found = np.full((len(frames), info.height, info.width, 3), video, np.uint8)
        found[:, 0, 0, 0] = frames
        if out is not None:
            out[:] = found
        return found


def requests(rng, num_frames):
    start = int(rng.integers(num_frames))
    return [
        ClipRequest(window(num_frames, start, 3, s), view) for s, view in ((1, 0), (2, 1), (3, 1))
    ]
