"""Kind ``frame_class``: a frame of a video has one class, and its clip is around that frame."""

from __future__ import annotations

from videossl.downstream.examples import Examples, Source
from videossl.downstream.kinds import moments
from videossl.downstream.kinds.moments import Moment


def examples(source: Source) -> Examples:
    """Every labelled frame of every stored video, in the order of the store and of time."""
    found = [
        (video, moments.at_frame(video, frame), label)
        for video, own in moments.annotated(source, "frames")
        for frame, label in own["frames"]
    ]
    moments.say_beyond([stored for _, stored, _ in found])
    kept = [Moment(video, stored, label) for video, stored, label in found if stored is not None]
    return moments.examples(source, kept, {})
