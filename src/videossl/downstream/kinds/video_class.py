"""Kind ``class``: a video has one class."""

from __future__ import annotations

import numpy as np

from videossl.data.datasets.index import UNLABELLED
from videossl.downstream.examples import Examples, Source


def examples(source: Source) -> Examples:
    """Every stored video that has a class, in the order of the store."""
    store = source.store
    chosen = [video for video in store.videos if video.label != UNLABELLED]
    splits = sorted({split for video in chosen for split in video.splits})
    return Examples(
        [video.name for video in chosen],
        np.array([video.label for video in chosen], np.int64),
        store.classes,
        {split: [video.splits.get(split, "") for video in chosen] for split in splits},
    )
