"""What the kinds of labels share whose examples are moments of a video.

An example is a video and the number of one of its *stored* frames: a video may be stored at another
rate than its file has (``decode.fps``). A moment that a video is too short for is no example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videossl.data.shards.store import Video
from videossl.downstream.examples import Examples, Source

NEAR = 1e-6  # of a frame: rates are rounded


@dataclass(frozen=True)
class Moment:
    """One example: its video, the stored frame that it is about, and its target.

    Attributes:
        tested_only: whether nothing can be learnt from it, so that it is in the part ``test`` or in
            none.
    """

    video: Video
    frame: int
    target: Any
    tested_only: bool = False

    def part(self, split: str) -> str:
        """The part of an official split that it is in; "" where it is in none."""
        part = self.video.splits.get(split, "")
        return "" if self.tested_only and part != "test" else part


def at_second(video: Video, time: float) -> int | None:
    """The stored frame nearest to a time in seconds; ``None`` where none is stored around it.

    Times of a video whose container says no rate are not to be found: ``None``.
    """
    return _nearest(video, (time - video.begin) * video.fps) if video.fps else None


def at_frame(video: Video, frame: int) -> int | None:
    """The stored frame nearest to the ``frame``-th of the file, in time; ``None`` where none is.

    Both rates count as constant: where a file's rate varies, a frame beside it may be found.
    """
    rate = video.fps / video.source_fps if video.source_fps else 1.0
    return _nearest(video, frame * rate - video.begin * video.fps)


def _nearest(video: Video, place: float) -> int | None:
    """The frame nearest to a place between frames; that before it must be there."""
    if place < -NEAR or int(place + NEAR) >= video.frames:
        return None
    return min(int(place + 0.5), video.frames - 1)


def say_beyond(found: Sequence[int | None]) -> None:
    """Say how many of the annotated moments no stored frame is near: ``None`` in ``found``."""
    beyond = sum(frame is None for frame in found)
    if beyond:
        print(
            f"{beyond} of {len(found)} annotated moments are left out: their video ends before, "
            "or says no frame rate"
        )


def counts(own: dict[str, Any]) -> dict[str, int]:
    """By kind of labels, how many moments a video's annotations are about, if it is long enough."""
    times = {box["time"] for box in own.get("boxes", [])} - {*own.get("excluded", [])}
    looked = {frame for frame, *_ in own.get("gaze", [])}
    found = {"boxes": len(times), "frame_class": len(own.get("frames", [])), "gaze": len(looked)}
    return {kind: count for kind, count in found.items() if count}


def annotated(source: Source, key: str) -> list[tuple[Video, dict[str, Any]]]:
    """The stored videos with annotations of that name, in the order of the store."""
    found = ((video, source.annotations.get(video.name) or {}) for video in source.store.videos)
    return [(video, own) for video, own in found if key in own]


def examples(source: Source, moments: Sequence[Moment], facts: dict[str, Any]) -> Examples:
    """The moments as examples; targets that are numbers become an array."""
    splits = sorted({split for moment in moments for split in moment.video.splits})
    targets: Any = [moment.target for moment in moments]
    if all(isinstance(target, int) for target in targets):
        targets = np.array(targets, np.int64)
    return Examples(
        [moment.video.name for moment in moments],
        targets,
        source.classes,
        {split: [moment.part(split) for moment in moments] for split in splits},
        np.array([moment.frame for moment in moments], np.int64),
        facts,
    )
