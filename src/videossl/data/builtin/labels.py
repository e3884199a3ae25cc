"""Labels of the built-in dataset beside the class of its motion, in the forms of any dataset.

``tags``: classes of a video, several at once: its shape, its texture and its colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from videossl.data.builtin.sprites import COLORS, SHAPES, TEXTURES, Appearance, Floats
from videossl.data.datasets.index import Index
from videossl.study.schema import SyntheticData

TAGS = (*sorted(SHAPES), *sorted(TEXTURES), *sorted(COLORS))


class Known(Protocol):
    """What is known of a video once it is written."""

    @property
    def look(self) -> Appearance: ...  # noqa: D102
    @property
    def boxes(self) -> Floats: ...  # noqa: D102
    @property
    def gaze(self) -> Floats: ...  # noqa: D102


def annotate(index: Index, known: Mapping[str, Known], data: SyntheticData) -> Index:
    """The index with these labels; what it has already stays.

    Args:
        index: of the dataset.
        known: of each video by its name, what was drawn.
        data: the dataset's parameters.
    """
    entries = [
        replace(
            entry, annotations={**(entry.annotations or {}), **_labels(known[entry.name], data)}
        )
        for entry in index.entries
    ]
    own: dict[str, Any] = index.annotations or {}
    classes = {**own.get("classes", {}), "tags": list(TAGS)}
    return replace(index, entries=entries, annotations={**own, "classes": classes})


def _labels(video: Known, data: SyntheticData) -> dict[str, Any]:
    length = data.frames / data.fps
    tags = sorted(
        TAGS.index(tag) for tag in (video.look.shape, video.look.texture, video.look.color)
    )
    return {
        "length": length,
        "actions": [{"class": tag, "start": 0.0, "end": length} for tag in tags],
    }
