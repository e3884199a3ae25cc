"""Kind ``gaze``: where a frame of a video was looked at.

The target is ``{"points": [[x, y], …], "sigma": [across, down]}``: the points that were looked at,
and the deviation of the Gaussian around each, all in shares of the frame's width and height. It is
a degree of visual angle (Jiao et al., ISBI 2020, after Droste et al., IPMI 2019), which the dataset
may know (``sigma`` of its annotations, a share of the width); else ``SIGMA``. A frame that nobody
looked at is no example. Points of several frames that are stored as one belong together.
"""

from __future__ import annotations

from videossl.downstream.examples import Examples, Source
from videossl.downstream.kinds import moments
from videossl.downstream.kinds.moments import Moment

SIGMA = 0.034  # about 35 of 1024 pixels are a degree in MIT1003 (Judd et al., ICCV 2009)


def examples(source: Source) -> Examples:
    """Every frame that was looked at of every stored video, in the order of the store and time."""
    across = source.own.get("sigma", SIGMA)
    found: list[Moment] = []
    places: list[int | None] = []
    for video, own in moments.annotated(source, "gaze"):
        looked: dict[int, list[list[float]]] = {}
        for frame, x, y in own["gaze"]:
            stored = moments.at_frame(video, frame)
            places.append(stored)
            if stored is not None:
                looked.setdefault(stored, []).append([x, y])
        sigma = [across, round(across * video.width / video.height, 6)]
        found += [
            Moment(video, frame, {"points": looked[frame], "sigma": sigma})
            for frame in sorted(looked)
        ]
    moments.say_beyond(places)
    return moments.examples(source, found, {})
