"""Kind ``scene``: a video has one class, and there is no split: each is tested on all others."""

from __future__ import annotations

from dataclasses import replace

from videossl.downstream.examples import Examples, Source
from videossl.downstream.kinds import video_class


def examples(source: Source) -> Examples:
    """Every stored video that has a class, in the order of the store; part ``all`` of split 1."""
    found = video_class.examples(source)
    return replace(found, parts={"1": ["all"] * len(found.videos)})
