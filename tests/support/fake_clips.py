"""Made-up clips of a first batch, as ``pretrain`` would have kept them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from support.fake_study import FakeStudy

NAMES = ["query", "<i>key</i>"]
FRAMES, SIDE = 4, 16


def level(clip: int, video: int, frame: int) -> list[int]:
    """RGB of a whole frame."""
    return [100 + 100 * clip, 40 * video, 60 * frame]


def keep(study: FakeStudy, row: str, seed: int = 0, videos: int = 4, **changes: Any) -> Path:
    """Write the file of one row; ``changes`` are other arrays, or ``None`` for one that is absent.

    Returns:
        Its path.
    """
    arrays: dict[str, Any] = {
        "videos": np.array([f'v"{video}' for video in range(videos)]),
        "names": np.array(NAMES),
    }
    for clip, _ in enumerate(NAMES):
        pixels = np.zeros((videos, FRAMES, SIDE, SIDE, 3), np.uint8)
        for video in range(videos):
            for frame in range(FRAMES):
                pixels[video, frame] = level(clip, video, frame)
        arrays[f"clip{clip}"] = pixels
    arrays |= changes
    path = study.root / "pretrain" / row / str(seed) / "5f3a" / "batch.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path
