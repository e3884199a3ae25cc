"""Labels of the built-in dataset beside the class of its motion, in the forms of any dataset.

``tags``: classes of a video, several at once: its shape, its texture and its colour.
``scene``: the pattern of what is behind the sprite. Videos of one group share it, so a video that
is left out leaves others of its own scene: the test is easy, as it is of real scenes.
``shape``: the sprite's shape, which every frame shows: a test of appearance where the class is one
of motion.
``pairs``: whether two videos show the same motion, in ten folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from videossl.data.builtin.sprites import (
    COLORS,
    PATTERNS,
    SHAPES,
    TEXTURES,
    Appearance,
    Floats,
)
from videossl.data.datasets.index import Index
from videossl.study.schema import SyntheticData

LABELS = {  # kinds beside the adapter's
    "classes": "what moves: its shape, its texture and its colour",
    "scene": "the pattern behind what moves",
    "pairs": "whether two videos show the same motion, in ten folds",
}
TAGS = (*sorted(SHAPES), *sorted(TEXTURES), *sorted(COLORS))
SCENES, FORMS = sorted(PATTERNS), sorted(SHAPES)

Pair = list[str | int]  # name, name, same, fold


class Known(Protocol):
    """What is known of a video once it is written."""

    @property
    def look(self) -> Appearance: ...  # noqa: D102
    @property
    def boxes(self) -> Floats: ...  # noqa: D102
    @property
    def gaze(self) -> Floats: ...  # noqa: D102


def annotate(
    index: Index, known: Mapping[str, Known], data: SyntheticData, pairs: Sequence[Pair]
) -> Index:
    """The index with these labels; what it has already stays.

    Args:
        index: of the dataset.
        known: of each video by its name, what was drawn.
        data: the dataset's parameters.
        pairs: of its videos.
    """
    entries = [
        replace(
            entry, annotations={**(entry.annotations or {}), **_labels(known[entry.name], data)}
        )
        for entry in index.entries
    ]
    own: dict[str, Any] = index.annotations or {}
    classes = {
        **own.get("classes", {}),
        "tags": list(TAGS),
        "scene": SCENES,
        "shape": FORMS,
    }
    whole = {**own, "classes": classes, "pairs": list(pairs)}
    return replace(index, entries=entries, annotations=whole)


def _labels(video: Known, data: SyntheticData) -> dict[str, Any]:
    length = data.frames / data.fps
    tags = sorted(
        TAGS.index(tag) for tag in (video.look.shape, video.look.texture, video.look.color)
    )
    return {
        "length": length,
        "labels": {
            "scene": SCENES.index(video.look.backdrop.pattern),
            "shape": FORMS.index(video.look.shape),
        },
        "actions": [{"class": tag, "start": 0.0, "end": length} for tag in tags],
    }
