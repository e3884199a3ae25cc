"""Labels of the built-in dataset beside the class of its motion, in the forms of any dataset.

``tags``: classes of a video, several at once: its shape, its texture and its colour.
``scene``: the pattern of what is behind the sprite. Videos of one group share it, so a video that
is left out leaves others of its own scene: the test is easy, as it is of real scenes.
``shape``: the sprite's shape, which every frame shows: a test of appearance where the class is one
of motion.
``pairs``: whether two videos show the same motion, in ten folds.

About moments, one a second or so, evenly spread:

``boxes``: the sprite's box, with two classes: its motion, which only frames around the moment tell,
    and its shape.
``plane``: class of a frame. As a plane of an ultrasound scan is one that shows a structure whole,
    it is the quarter of the frame that the whole sprite has its centre in, or ``background`` where
    the frame's border cuts the sprite, which is the most frequent class. It tells left from right.
``gaze``: one point, the sprite's centre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from videossl.data.builtin.sprites import (
    COLORS,
    MOTIONS,
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
    "boxes": "the box of what moves, its motion and its shape, about once a second",
    "frame_class": "where what moves is, or that the border cuts it, about once a second",
    "gaze": "the centre of what moves, about once a second",
}
TAGS = (*sorted(SHAPES), *sorted(TEXTURES), *sorted(COLORS))
SCENES, FORMS = sorted(PATTERNS), sorted(SHAPES)
BOXES = [*sorted(MOTIONS), *FORMS]
PLANES = ["background", "lower left", "lower right", "upper left", "upper right"]
SIGMA = 0.06  # of a gaze map's Gaussian, as a share of the frame's side

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
            entry,
            annotations={
                **(entry.annotations or {}),
                **_labels(known[entry.name], data),
                **_moments(known[entry.name], index.classes[entry.label], data),
            },
        )
        for entry in index.entries
    ]
    own: dict[str, Any] = index.annotations or {}
    classes = {
        **own.get("classes", {}),
        "tags": list(TAGS),
        "scene": SCENES,
        "shape": FORMS,
        "boxes": BOXES,
        "plane": PLANES,
        "gaze": [],
    }
    whole = {**own, "classes": classes, "pairs": list(pairs), "sigma": SIGMA}
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


def moments(data: SyntheticData) -> list[int]:
    """The frames that labels are of: one a second, at least one, in the middle of equal parts."""
    count = max(1, round(data.frames / data.fps))
    return [(2 * place + 1) * data.frames // (2 * count) for place in range(count)]


def _moments(video: Known, motion: str, data: SyntheticData) -> dict[str, Any]:
    actions = sorted(BOXES.index(name) for name in (motion, video.look.shape))
    boxes, frames, gaze = [], [], []
    for frame in moments(data):
        box = [round(float(edge) / data.size, 6) for edge in video.boxes[frame]]
        x, y = (round(float(place) / data.size, 6) for place in video.gaze[frame])
        seconds = round(frame / data.fps, 6)
        boxes.append({"time": seconds, "box": box, "actions": actions, "person": 0})
        frames.append([frame, PLANES.index(_plane(box, x, y))])
        gaze.append([frame, x, y])
    return {"boxes": boxes, "excluded": [], "detections": [], "frames": frames, "gaze": gaze}


def _plane(box: list[float], x: float, y: float) -> str:
    if min(box) <= 0 or max(box) >= 1:
        return "background"
    return f"{'upper' if y < 0.5 else 'lower'} {'left' if x < 0.5 else 'right'}"
