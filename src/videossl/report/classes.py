"""Which classes a row tells better or worse than its baseline, and which it takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.downstream.examples import FACTS
from videossl.report import confusion
from videossl.report.inputs import Folder
from videossl.report.layout import Group, Row
from videossl.report.results import Evaluation, by_place
from videossl.report.wording import DASH, counted

PROTOCOLS = ("recognition", "linear")  # whose predictions are scores of every class
METRIC = "top1"
MOST, PAIRS = 15, 10  # classes and confusions that are shown


@dataclass(frozen=True, eq=False)
class Told:
    """What one row's predictions say of each class, over all seeds and splits.

    Attributes:
        right: (classes,) share of a class's examples that are right; nan where none is tested.
        taken: (classes, classes) how many examples of the first are taken for the second.
    """

    right: NDArray[np.float64]
    taken: NDArray[np.int64]


def sections(
    evaluations: Sequence[Evaluation],
    rows: Sequence[Row],
    groups: Sequence[Group],
    selected: Sequence[Folder],
) -> list[dict[str, Any]]:
    """What the page shows: of each test and protocol that names classes, gains and confusions.

    Gains are of rows that have a baseline, confusions of all rows.

    ``selected`` are the outputs of ``select``, which know the names.

    Raises:
        UserError: predictions are damaged.
    """
    places = by_place(evaluations)
    tables = {(one.key["form"], one.key["test"]): one for one in selected}
    found = []
    for group in groups:
        folder = tables.get((group.form, group.test))
        if group.protocol not in PROTOCOLS or folder is None:
            continue
        names = folder.json(FACTS)["classes"]
        told = {
            row.name: one
            for row in rows
            if (one := _told(places.get((row.name, group.key), []), len(names))) is not None
        }
        compared = [r for r in rows if r.name in told and r.baseline in told]
        if told:
            found.append(
                {
                    "title": f"{group.title}: {group.test}",
                    "heads": ["Class", *(row.title for row in compared)],
                    "rows": _gains(told, compared, names) if compared else [],
                    "hidden": max(len(names) - MOST, 0),
                    "confusions": _confusions(told, [r for r in rows if r.name in told], names),
                    "undrawn": max(len(names) - confusion.MOST, 0),
                    "shades": confusion.legend(),
                }
            )
    return found


def _told(found: Sequence[Evaluation], classes: int) -> Told | None:
    """None where predictions are absent, or are not scores of these classes."""
    taken = np.zeros((classes, classes), np.int64)
    right, tested = np.zeros(classes), np.zeros(classes)
    for one in found:
        stored = one.predictions("labels", "scores", f"value.{METRIC}")
        if stored is None:
            return None
        labels, scores, hits = stored
        if labels.ndim != 1 or scores.shape != (len(labels), classes):
            return None
        np.add.at(taken, (labels, scores.argmax(axis=1)), 1)
        right += np.bincount(labels, hits, classes)
        tested += np.bincount(labels, minlength=classes)
    if not found:
        return None
    shares = np.divide(right, tested, out=np.full(classes, np.nan), where=tested > 0)
    return Told(shares, taken)


def _gains(
    told: Mapping[str, Told], compared: Sequence[Row], names: Sequence[str]
) -> list[dict[str, Any]]:
    """A line per class, those that moved most first: points over each row's baseline."""
    gains = np.stack([told[r.name].right - told[str(r.baseline)].right for r in compared])
    tested = np.asarray(~np.isnan(gains).all(axis=0))
    largest = np.where(tested, np.nanmax(np.abs(np.where(tested, gains, 0)), axis=0), -1)
    order = np.argsort(-largest, kind="stable")[:MOST]
    return [
        {"name": names[c], "cells": [_points(gain) for gain in gains[:, c]]}
        for c in order
        if tested[c]
    ]


def _points(gain: float) -> dict[str, str]:
    if np.isnan(gain):
        return {"text": DASH, "direction": "none"}
    value = round(100 * gain)
    direction = "up" if value > 0 else "down" if value < 0 else "none"
    return {"text": f"{value:+d}".replace("-", "−"), "direction": direction}


def _confusions(
    told: Mapping[str, Told], rows: Sequence[Row], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Of each row its map, and in words the classes that are most often taken for another."""
    lines = []
    chosen = confusion.drawn({name: one.taken for name, one in told.items()}, len(names))
    for row in rows:
        taken = told[row.name].taken.copy()
        drawn = confusion.draw(taken, names, chosen)
        totals = taken.sum(axis=1)
        np.fill_diagonal(taken, 0)
        order = np.argsort(-taken, axis=None, kind="stable")[:PAIRS]
        pairs = [divmod(int(place), len(names)) for place in order]
        lines.append(
            {
                "row": row.title,
                "map": drawn,
                "pairs": [
                    {
                        "true": names[true],
                        "taken": names[other],
                        "count": f"{taken[true, other]} of {counted(int(totals[true]), 'example')}",
                    }
                    for true, other in pairs
                    if taken[true, other]
                ],
            }
        )
    return lines
