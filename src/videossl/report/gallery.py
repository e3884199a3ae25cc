"""What an encoder sees as alike: test videos with their nearest training videos, row by row.

The queries are the same for all rows, so that rows can be compared: those whose nearest videos are
of their class most often, most rarely, and as often as the median query's, over all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.data.shards.store import ClipStore
from videossl.downstream import examples
from videossl.downstream.examples import Examples
from videossl.job import UserError
from videossl.report.layout import Group, Row
from videossl.report.results import Evaluation
from videossl.report.sources import Sources
from videossl.report.strips import Strip, Strips

PROTOCOL = "retrieval"
NEIGHBOURS = 5  # that are shown of each query
MOST_BYTES = 5 << 19  # of all strips on the page


@dataclass(frozen=True)
class Gallery:
    """What the page shows: a part per test, and the strips that they name.

    Attributes:
        left_out: titles of the tests whose strips would make the page too large.
    """

    parts: Sequence[Mapping[str, Any]]
    strips: Sequence[Strip]
    left_out: Sequence[str] = ()


NO_GALLERY = Gallery((), ())


@dataclass(frozen=True, eq=False)
class Found:
    """What one row found, of the first seed and split.

    Attributes:
        queries: (N,) numbers of the test examples.
        nearest: (N, k) numbers of the training examples, nearest first.
        right: (N, k) whether each is of the query's class.
    """

    seed: int
    split: int
    queries: NDArray[np.int64]
    nearest: NDArray[np.int64]
    right: NDArray[np.bool_]


def build(sources: Sources) -> Gallery:
    """The neighbours of the tests that search for some.

    Raises:
        UserError: predictions, examples or stored videos are damaged, or of one another's.
    """
    strips = Strips()
    parts: list[dict[str, Any]] = []
    left_out: list[str] = []
    for group in sources.groups:
        if group.protocol != PROTOCOL or not sources.complete(group):
            continue
        chosen = examples.read(sources.tables[group.form, group.test])
        found = {
            row: one
            for row in sources.rows
            if (one := _found(sources.places.get((row.name, group.key), []), chosen)) is not None
        }
        if not found:
            continue
        store = ClipStore(sources.shards[group.dataset])
        more = Strips(dict(strips.found))
        part = _part(group, found, _Shown(store, group.dataset, chosen, more))
        if sum(len(one.data) for one in more.found.values()) > MOST_BYTES:
            left_out.append(part["title"])
            continue
        strips = more
        parts.append(part)
    return Gallery(parts, [*strips.found.values()], left_out)


def _found(evaluations: Sequence[Evaluation], chosen: Examples) -> Found | None:
    """What was found with the first seed and split; ``None`` if nothing was stored."""
    if not evaluations:
        return None
    first = min(evaluations, key=lambda one: (one.seed, one.split))
    stored = first.predictions("examples", "labels", "neighbours", "neighbour_labels")
    if stored is None:
        return None
    queries, labels = stored[:2]
    neighbours, of_neighbours = (array[:, :NEIGHBOURS] for array in stored[2:])
    gallery = chosen.part(first.split, "train")
    if queries.max(initial=0) >= len(chosen.videos) or neighbours.max(initial=0) >= len(gallery):
        raise UserError(
            f"{first.path}: found examples that its test does not have; run the workflow again"
        )
    right = of_neighbours == labels[:, None]
    return Found(first.seed, first.split, queries, gallery[neighbours], right)


def choose(right: Sequence[NDArray[np.bool_]]) -> list[tuple[str, int]]:
    """The best, the median and the worst query: their names and places, each place once.

    Args:
        right: of each row (N, k), whether a neighbour is of the query's class.

    Of equal queries the first is taken, so that the best is no other one tomorrow.
    """
    score = np.mean([one.mean(axis=1) for one in right], axis=0)
    order = np.argsort(-score, kind="stable")
    worst = int(np.flatnonzero(score == score[order[-1]])[0])
    picks = {"Best": int(order[0]), "Median": int(order[len(order) // 2]), "Worst": worst}
    taken: dict[int, str] = {}
    for name, place in picks.items():
        taken.setdefault(place, name)
    return [(name, place) for place, name in taken.items()]


@dataclass(frozen=True)
class _Shown:
    """How the examples of a test are shown."""

    store: ClipStore
    dataset: str
    chosen: Examples
    strips: Strips

    def __call__(self, number: int) -> dict[str, Any]:
        video = self.chosen.videos[number]
        try:
            strip = self.strips.of(self.store, self.dataset, video)
        except KeyError:
            raise UserError(
                f"{self.store.path}: has no video {video!r}, which is an example of the test"
            ) from None
        return {
            "strip": strip,
            "class": self.chosen.classes[int(self.chosen.targets[number])],
            "video": video,
        }


def _part(group: Group, found: Mapping[Row, Found], shown: _Shown) -> dict[str, Any]:
    """One test: of each query what it is, and row by row what is nearest to it."""
    first = next(iter(found.values()))
    for row, one in found.items():
        if not np.array_equal(one.queries, first.queries):
            raise UserError(f"{row.name}: {group.test} has other test videos than other rows")
    queries = []
    for name, place in choose([one.right for one in found.values()]):
        lines = []
        for row, one in found.items():
            cells = [
                {**shown(int(number)), "right": bool(right)}
                for number, right in zip(one.nearest[place], one.right[place], strict=True)
            ]
            lines.append({"title": row.title, "cells": cells})
        queries.append({"title": name, "query": shown(int(first.queries[place])), "rows": lines})
    return {
        "title": f"{group.title}: {group.test}",
        "seed": first.seed,
        "split": first.split,
        "neighbours": first.nearest.shape[1],
        "queries": queries,
    }
