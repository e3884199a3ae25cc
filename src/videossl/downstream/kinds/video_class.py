"""Kind ``class``: a video has one class."""

from __future__ import annotations

import numpy as np

from videossl.data.datasets.index import UNLABELLED
from videossl.downstream.examples import Examples, Source


def examples(source: Source) -> Examples:
    """Every stored video that has a class, in the order of the store."""
    videos = source.store.videos
    labels = [source.label(video) for video in videos]
    chosen = [video for video, x in zip(videos, labels, strict=True) if x != UNLABELLED]
    splits = sorted({split for video in chosen for split in video.splits})
    return Examples(
        [video.name for video in chosen],
        np.array([label for label in labels if label != UNLABELLED], np.int64),
        source.classes,
        {split: [video.splits.get(split, "") for video in chosen] for split in splits},
    )
