"""Which class is taken for which, as a table whose cells are shaded by their share.

Of each true class a line: how its test examples are divided among the classes that they are taken
for, in per cent, so that classes with few examples are as clear as those with many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from videossl.report.wording import DASH

MOST = 30  # classes of a map; of more classes those with the most mistakes are drawn
OTHERS = "others"
BOUNDS = (10, 25, 50, 75)  # per cent: the shades end here, the last at 100


@dataclass(frozen=True)
class Cell:
    """A share as text, how dark its ground is (0: nothing to 5: nearly all), and if it is right."""

    text: str
    shade: int
    own: bool


@dataclass(frozen=True)
class Line:
    """A true class and where its examples went."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Map:
    """One row's confusions: ``heads`` are classes that are answered, ``lines`` the true ones."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def drawn(taken: Mapping[str, NDArray[np.int64]], classes: int) -> list[int]:
    """The classes that maps show, ascending: the same of all rows, so that maps can be compared.

    Of more than ``MOST`` those are drawn that are most often taken for another or another for them,
    counted over all rows.

    Args:
        taken: of each row (classes, classes), how many examples of the first are taken for the
            second.
    """
    if classes <= MOST:
        return list(range(classes))
    wrong = sum(taken.values(), np.zeros((classes, classes), np.int64))
    np.fill_diagonal(wrong, 0)
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    return sorted(np.argsort(-mistakes, kind="stable")[:MOST].tolist())


def draw(taken: NDArray[np.int64], names: Sequence[str], chosen: Sequence[int]) -> Map:
    """The map of one row over the chosen classes.

    Where classes are left out, a last column counts the answers that are none of the chosen.

    Args:
        taken: (classes, classes), how many examples of the first are taken for the second.
    """
    totals = taken.sum(axis=1)
    heads = [names[c] for c in chosen]
    counts = taken[:, chosen]
    if len(chosen) < len(names):
        heads.append(OTHERS)
        counts = np.column_stack([counts, totals - counts.sum(axis=1)])
    lines = [
        Line(
            names[true],
            tuple(
                _cell(int(count), int(totals[true]), place == own)
                for place, count in enumerate(counts[true])
            ),
        )
        for own, true in enumerate(chosen)
    ]
    return Map(tuple(heads), tuple(lines))


def _cell(count: int, total: int, own: bool) -> Cell:
    if not total:
        return Cell(DASH, 0, own)
    share = 100 * count / total
    if not count:
        return Cell("", 0, own)
    shade = 1 + sum(share > bound for bound in BOUNDS)
    return Cell("<1" if share < 0.5 else f"{share:.0f}", shade, own)


def legend() -> list[tuple[int, str]]:
    """Each shade and the shares that it stands for."""
    ends = [0, *BOUNDS, 100]
    return [(k, f"{low} to {high} %") for k, (low, high) in enumerate(pairwise(ends), 1)]
