"""How many dimensions the features of each row use, by test: what ``embed`` measured of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from videossl.job import UserError
from videossl.report.inputs import Folder
from videossl.report.layout import Row
from videossl.report.wording import DASH, counted, joined

FACTS = "metrics.json"
NAMES = ("examples", "dimensions", "rankme", "rankme_examples")


@dataclass(frozen=True)
class Used:
    """The table: a line per row, a column per test; and over which examples, in words."""

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    examples: str


NONE_USED = Used((), (), "")


def build(folders: Iterable[Folder], rows: Sequence[Row]) -> Used:
    """The mean over seeds of each row and test, ± its standard deviation over several.

    Raises:
        UserError: what a stage says of its features lacks a number.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for folder in folders:
        facts = folder.json(FACTS)
        absent = [name for name in NAMES if name not in facts]
        if absent:
            raise UserError(f"{folder.path / FACTS}: has no {', '.join(absent)}")
        found.setdefault((folder.key["row"], folder.key["test"]), []).append(facts)
    tests = list(dict.fromkeys(test for _, test in found))
    lines = [
        (row.title, [_cell(found.get((row.name, test), [])) for test in tests])
        for row in rows
        if any((row.name, test) in found for test in tests)
    ]
    said = [_over(test, next(f for (_, t), f in found.items() if t == test)) for test in tests]
    return Used(["Row", *tests], lines, joined(said) if said else "")


def _cell(facts: Sequence[dict[str, Any]]) -> str:
    if not facts:
        return DASH
    values = [one["rankme"] for one in facts]
    deviation = f" ±{stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{deviation} of {facts[0]['dimensions']:,}"


def _over(test: str, facts: Sequence[dict[str, Any]]) -> str:
    """Whose features: all examples of the test, or so many that are evenly spread."""
    count, looked = facts[0]["examples"], facts[0]["rankme_examples"]
    if looked == count:
        return f"{counted(count, 'example')} of {test}"
    return f"{looked:,} evenly spread of {counted(count, 'example')} of {test}"
