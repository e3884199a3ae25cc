"""Where each row's classifier looks: the maps that ``test`` kept, over the clips that they are of.

Of each test the maps of the first seed and split; see ``downstream/occlusion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from videossl.downstream.examples import FACTS
from videossl.job import UserError
from videossl.report.inputs import Folder
from videossl.report.layout import Group, Row
from videossl.report.results import Evaluation, by_place
from videossl.report.strips import Strip, Strips

FILE = "occlusion.npz"
ARRAYS = ("examples", "labels", "predicted", "probability", "clips", "drops")  # a row per clip
MOST_BYTES = 3 << 17  # of all strips of this part of the page
PALE, STRONG = 0.6, 0.75  # light of a clip under a map; share of colour at the largest drop
COLOUR = (255.0, 140.0, 0.0)
NOTHING = 0.005  # a largest drop below this is none


@dataclass(frozen=True)
class Looks:
    """What the page shows: a part per test, and the strips that they name.

    Attributes:
        left_out: titles of the tests whose strips would make the page too large.
    """

    parts: Sequence[Mapping[str, Any]]
    strips: Sequence[Strip]
    left_out: Sequence[str] = ()


NO_LOOKS = Looks((), ())


@dataclass(frozen=True, eq=False)
class Maps:
    """One row's maps; V examples.

    Attributes:
        examples, labels, predicted, probability: (V,).
        clips: (V, F, S, S, 3) RGB.
        drops: (V, G, G) by how much the probability fell where a square was hidden.
        share: of the clip's side that the square's side was.
    """

    seed: int
    split: int
    examples: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float32]
    clips: NDArray[np.uint8]
    drops: NDArray[np.float32]
    share: float


def build(
    evaluations: Sequence[Evaluation],
    rows: Sequence[Row],
    groups: Sequence[Group],
    selected: Sequence[Folder],
) -> Looks:
    """The maps of the tests that kept some; ``selected`` are the outputs of ``select``.

    Raises:
        UserError: maps are damaged, or those of several rows are of other examples.
    """
    places = by_place(evaluations)
    tables = {(one.key["form"], one.key["test"]): one for one in selected}
    strips = Strips(prefix="look")
    parts: list[dict[str, Any]] = []
    left_out: list[str] = []
    for group in groups:
        folder = tables.get((group.form, group.test))
        found = {
            row: one
            for row in rows
            if (one := _read(places.get((row.name, group.key), []))) is not None
        }
        if not found or folder is None:
            continue
        more = Strips(strips.found.copy(), "look")
        part = _part(group, found, folder.json(FACTS)["classes"], more)
        if sum(len(one.data) for one in more.found.values()) > MOST_BYTES:
            left_out.append(part["title"])
            continue
        strips = more
        parts.append(part)
    return Looks(parts, [*strips.found.values()], left_out)


def _read(evaluations: Sequence[Evaluation]) -> Maps | None:
    """The maps of the first seed and split; ``None`` if none were stored."""
    if not evaluations:
        return None
    first = min(evaluations, key=lambda one: (one.seed, one.split))
    path = first.path / FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            arrays = {name: stored[name] for name in ARRAYS}
            share = float(stored["share"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    found = Maps(seed=first.seed, split=first.split, share=share, **arrays)
    shapes = {array.shape[:1] for array in arrays.values()}
    whole = len(shapes) == 1 and found.clips.ndim == 5 and found.drops.ndim == 3
    if not whole or found.clips.dtype != np.uint8 or not np.isfinite(found.drops).all():
        raise UserError(f"{path}: damaged: not maps of as many clips")
    return found


def _part(
    group: Group, found: Mapping[Row, Maps], classes: Sequence[str], strips: Strips
) -> dict[str, Any]:
    """One test: the clips, and row by row the maps over them with what was predicted."""
    first = next(iter(found.values()))
    for row, one in found.items():
        if not np.array_equal(one.examples, first.examples):
            raise UserError(f"{row.name}: {group.test} has other test videos than other rows")
    clips = [
        {
            "strip": strips.add((group.test, "", str(place)), clip),
            "class": classes[int(first.labels[place])],
        }
        for place, clip in enumerate(first.clips)
    ]
    lines = []
    for row, one in found.items():
        cells = []
        for place, clip in enumerate(one.clips):
            drawn = overlay(clip, one.drops[place], one.share)
            cells.append(
                {
                    "strip": strips.add((group.test, row.name, str(place)), drawn),
                    "class": classes[int(one.predicted[place])],
                    "right": bool(one.predicted[place] == one.labels[place]),
                    "probability": f"{100 * float(one.probability[place]):.0f}",
                    "largest": f"{100 * max(float(one.drops[place].max()), 0.0):.0f}",
                }
            )
        lines.append({"title": row.title, "cells": cells})
    return {
        "title": f"{group.title}: {group.test}",
        "seed": first.seed,
        "split": first.split,
        "clips": clips,
        "lines": lines,
    }


def heat(drops: NDArray[np.float32], share: float, size: int) -> NDArray[np.float64]:
    """(size, size): the mean drop of the squares that cover a pixel, of drops (G, G)."""
    side = max(1, round(share * size))
    starts = np.linspace(0, size - side, len(drops)).round().astype(int)
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for row, top in enumerate(starts):
        for column, left in enumerate(starts):
            total[top : top + side, left : left + side] += drops[row, column]
            count[top : top + side, left : left + side] += 1
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def overlay(clip: NDArray[np.uint8], drops: NDArray[np.float32], share: float) -> NDArray[np.uint8]:
    """A clip (F, S, S, 3) in pale grey, coloured where hiding a square cost probability."""
    size = clip.shape[1]
    grey = clip.mean(axis=-1, keepdims=True) * PALE
    warm = heat(drops, share, size).clip(min=0)
    strength = warm / warm.max() if warm.max() > NOTHING else np.zeros_like(warm)
    part = STRONG * strength[None, :, :, None]
    return np.asarray(((1 - part) * grey + part * COLOUR).round(), np.uint8)
