"""What fine-tuned rows find in frames: boxes with their classes, or where somebody looked.

The frames are those of a few test examples that are spread evenly over the test part, whatever the
results; of the first seed and split. All is drawn from predictions and stored videos.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videossl.data.shards.store import ClipStore
from videossl.downstream import examples
from videossl.downstream.examples import Examples
from videossl.job import UserError
from videossl.report.layout import Group, Row
from videossl.report.sources import Sources
from videossl.report.strips import webp
from videossl.report.wording import counted

EXAMPLES = 4
WIDTH = 144  # pixels of a picture
MOST_BOXES = 4  # of a picture: those with the highest scores
MOST_BYTES = 3 << 17  # of all pictures of this part of the page
PALE, STRONG = 0.6, 0.75  # light of a frame under a map; share of colour at the map's peak
COLOUR, TRUTH, DARK = (255, 140, 0), (90, 220, 140), (20, 20, 20)
BOXES = ("found_places", "found_range", "scores", "true_places", "true_range", "labels")
GAZE = ("maps", "points")

Picture = NDArray[np.uint8]  # (H, WIDTH, 3) RGB
Still = tuple[Picture, list[str]]  # a picture, and the lines below it
Stored = Sequence[NDArray[Any]]  # the arrays of a protocol, in the order of their names above


@dataclass(frozen=True)
class Moments:
    """What the page shows: a part per test.

    Attributes:
        left_out: titles of the tests whose pictures would make the page too large.
    """

    parts: Sequence[Mapping[str, Any]]
    left_out: Sequence[str] = ()


NO_MOMENTS = Moments(())


def build(sources: Sources) -> Moments:
    """The frames of the tests of boxes and of gaze.

    Raises:
        UserError: predictions, examples or stored videos are damaged, or of one another's.
    """
    parts: list[dict[str, Any]] = []
    left_out: list[str] = []
    size = 0
    for group in sources.groups:
        if group.protocol not in KINDS or not sources.complete(group):
            continue
        kind = KINDS[group.protocol]
        first = {
            row: min(own, key=lambda one: (one.seed, one.split))
            for row in sources.rows
            if (own := sources.places.get((row.name, group.key)))
        }
        found = {
            row: stored
            for row, one in first.items()
            if (stored := one.predictions("examples", *kind.arrays)) is not None
        }
        if not found:
            continue
        chosen = examples.read(sources.tables[group.form, group.test])
        part = _part(group, found, kind, chosen, ClipStore(sources.shards[group.dataset]))
        one = next(iter(first.values()))
        part |= {"seed": one.seed, "split": one.split}
        added = sum(len(cell["data"]) for line in part["lines"] for cell in line["cells"])
        if size + added > MOST_BYTES:
            left_out.append(part["title"])
            continue
        size += added
        parts.append(part)
    return Moments(parts, left_out)


@dataclass(frozen=True)
class _Kind:
    """How the predictions of a protocol are drawn on the frame of the example at a place."""

    arrays: tuple[str, ...]
    true: Callable[[Picture, Stored, int, Sequence[str]], Still]
    found: Callable[[Picture, Stored, int, Sequence[str]], Still]
    note: str


def _part(
    group: Group,
    found: Mapping[Row, Sequence[NDArray[Any]]],
    kind: _Kind,
    chosen: Examples,
    store: ClipStore,
) -> dict[str, Any]:
    numbers = next(iter(found.values()))[0]
    for row, stored in found.items():
        if not np.array_equal(stored[0], numbers):
            raise UserError(f"{row.name}: {group.test} has other test examples than other rows")
    spread = np.linspace(0, len(numbers) - 1, min(len(numbers), EXAMPLES))
    picked = np.unique(spread.round().astype(int)).tolist()
    frames = [_frame(store, chosen, int(numbers[place])) for place in picked]

    def line(title: str, draw: Callable[..., Still], stored: Stored) -> dict[str, Any]:
        stills = [
            draw(frame, stored, place, chosen.classes)
            for frame, place in zip(frames, picked, strict=True)
        ]
        cells = [
            {
                "data": f"data:image/webp;base64,{webp(picture)}",
                "width": WIDTH,
                "height": picture.shape[0],
                "lines": lines,
            }
            for picture, lines in stills
        ]
        return {"title": title, "cells": cells}

    first = next(iter(found.values()))
    lines = [line("Truth", kind.true, first[1:])]
    lines += [line(row.title, kind.found, stored[1:]) for row, stored in found.items()]
    title = f"{group.title}: {group.test}"
    return {"title": title, "note": kind.note, "count": len(picked), "lines": lines}


def _frame(store: ClipStore, chosen: Examples, number: int) -> Picture:
    """The stored frame that an example is about, as wide as the pictures are."""
    if number >= len(chosen.videos) or chosen.frames is None:
        raise UserError(
            f"{store.path}: example {number} of a test has no frame; run the workflow again"
        )
    (video,) = chosen.stored(store, [number])
    (frame,) = store.clip(video, [int(chosen.frames[number])])
    height = max(1, round(WIDTH * frame.shape[0] / frame.shape[1]))
    how = cv2.INTER_AREA if frame.shape[1] > WIDTH else cv2.INTER_LINEAR
    small = cv2.resize(frame, (WIDTH, height), interpolation=how).reshape(height, WIDTH, -1)
    return np.ascontiguousarray(np.broadcast_to(small, (height, WIDTH, 3)), np.uint8)


# ------------------------------------------------------------------ boxes


def true_boxes(frame: Picture, stored: Stored, place: int, classes: Sequence[str]) -> Still:
    """The true boxes, numbered from left to right, with their classes; how many are not drawn."""
    _, _, _, places, ranges, labels = stored
    own = slice(*ranges[place])
    every = np.argsort(places[0][own][:, 0], kind="stable")
    order = every[:MOST_BOXES]
    more = [f"{len(every) - MOST_BOXES} more"] if len(every) > MOST_BOXES else []
    names = [
        ", ".join(classes[k] for k in np.flatnonzero(labels[0][own][box]).tolist()) for box in order
    ]
    return _drawn(frame, places[0][own][order], TRUTH), _numbered(names) + more


def found_boxes(frame: Picture, stored: Stored, place: int, classes: Sequence[str]) -> Still:
    """The surest boxes, numbered from left to right, and the likeliest class of each."""
    places, ranges, scores, *_ = stored
    own = slice(*ranges[place])
    sure = np.argsort(-scores[0][own].max(axis=1), kind="stable")[:MOST_BOXES]
    order = sure[np.argsort(places[0][own][sure][:, 0], kind="stable")]
    best = scores[0][own][order]
    names = [f"{classes[int(one.argmax())]} {100 * float(one.max()):.0f} %" for one in best]
    return _drawn(frame, places[0][own][order], COLOUR), _numbered(names)


def _drawn(frame: Picture, places: NDArray[Any], colour: tuple[int, int, int]) -> Picture:
    """A frame with numbered boxes (K, 4), shares of it."""
    picture = frame.copy()
    height, width = picture.shape[:2]
    for number, (left, top, right, bottom) in enumerate(places, start=1):
        corner = round(left * (width - 1)), round(top * (height - 1))
        other = round(right * (width - 1)), round(bottom * (height - 1))
        text = corner[0] + 3, corner[1] + 13
        for ink, thick in ((DARK, 3), (colour, 1)):
            cv2.rectangle(picture, corner, other, ink, thick)
            cv2.putText(picture, str(number), text, cv2.FONT_HERSHEY_PLAIN, 1.0, ink, thick)
    return picture


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)] or ["no box"]


# ------------------------------------------------------------------ gaze


def true_gaze(frame: Picture, stored: Stored, place: int, classes: Sequence[str]) -> Still:
    """The points that were looked at."""
    points = stored[1][place]
    return _dotted(frame, points), [counted(int((~np.isnan(points[:, 0])).sum()), "point")]


def found_gaze(frame: Picture, stored: Stored, place: int, classes: Sequence[str]) -> Still:
    """The predicted map over the frame in pale grey, and the true points."""
    maps, points = stored
    height, width = frame.shape[:2]
    strength = cv2.resize((maps[place] / maps[place].max()).astype(np.float32), (width, height))
    part = STRONG * np.asarray(strength)[..., None]
    grey = frame.mean(axis=-1, keepdims=True) * PALE
    warm = ((1 - part) * grey + part * COLOUR).round().clip(0, 255).astype(np.uint8)
    return _dotted(warm, points[place]), []


def _dotted(frame: Picture, points: NDArray[Any]) -> Picture:
    """A frame with a ring around each of the points (P, 2), shares of it; nan is no point."""
    picture = frame.copy()
    height, width = picture.shape[:2]
    for x, y in points[~np.isnan(points).any(axis=1)]:
        at = min(int(x * width), width - 1), min(int(y * height), height - 1)
        for ink, thick in ((DARK, 3), (TRUTH, 1)):
            cv2.circle(picture, at, 4, ink, thick)
    return picture


KINDS = {
    "detection": _Kind(
        BOXES,
        true_boxes,
        found_boxes,
        "Of each box that a row was asked about, the class that it finds likeliest; the surest "
        f"{MOST_BOXES} boxes at most, numbered from left to right.",
    ),
    "saliency": _Kind(
        GAZE,
        true_gaze,
        found_gaze,
        "The more orange a place is, the likelier a row finds it that somebody looks there, "
        "relative to the likeliest place; rings are where somebody looked.",
    ),
}
