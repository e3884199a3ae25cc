"""``videossl compare``: which parameters two studies differ in, and which numbers moved.

A number moved beyond noise by the rules of ``noise.py``, for one row in two studies in place of two
rows in one: over the same test examples where both tested on the same stored videos, else by seeds;
with one seed and no predictions nothing is known about noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videossl.downstream import declarations
from videossl.job import UserError
from videossl.report import kept
from videossl.report import page as pages
from videossl.report.kept import Key
from videossl.report.noise import Rule, Sample, judge
from videossl.report.wording import DASH, change, shown
from videossl.study import records

PLACES = (".", "runs/report", "results/aggregate")  # of a report in what a user names
DECIMALS = 1
NO_KEY = "no such key"
KNOWN: dict[Rule, str] = {
    "examples": "same examples",
    "seeds": "seeds",
    "largest": "noise unknown",
}


@dataclass(frozen=True)
class Moved:
    """A number that differs between the two.

    Attributes:
        beyond: whether it moved beyond noise; ``None`` where nothing is known about noise.
    """

    key: Key
    first: float
    second: float
    rule: Rule
    beyond: bool | None


@dataclass(frozen=True)
class Comparison:
    """Two reports, side by side.

    Attributes:
        params: keys that differ, with both values as they are shown.
        moved: numbers that differ, in the order of the first report.
        equal: how many numbers do not.
        alone: rows, tests and metrics that only one of them has, by which of the two.
    """

    names: tuple[str, str]
    params: list[tuple[str, str, str]]
    moved: list[Moved]
    equal: int
    alone: tuple[list[Key], list[Key]]


def report_of(place: Path) -> Path:
    """The folder of the report that a user means: a study's, or one that is named itself.

    Raises:
        UserError: there is none.
    """
    for below in PLACES:
        if (place / below / "results.csv").is_file():
            return place / below
    raise UserError(
        f"{place}: found no report; expected the folder of a study that has run (it then holds "
        "runs/report or results/aggregate), or a report's own"
    )


def compare(first: Path, second: Path, names: tuple[str, str] | None = None) -> Comparison:
    """The comparison of two studies' reports; ``names`` are what a reader calls them.

    Raises:
        UserError: one of them is absent or damaged.
    """
    reports = report_of(first), report_of(second)
    for report in reports:
        records.check(report, names=kept.READ)
    (params_a, results_a), (params_b, results_b) = map(kept.read, reports)
    both = [key for key in results_a if key in results_b]
    pairs = ((key, results_a[key], results_b[key]) for key in both)
    moved = [
        _moved(key, a, b, _same_videos(key, params_a, params_b))
        for key, a, b in pairs
        if a.mean != b.mean
    ]
    alone = (
        [key for key in results_a if key not in results_b],
        [key for key in results_b if key not in results_a],
    )
    names = names or (str(first), str(second))
    params = list(_differences(params_a, params_b))
    return Comparison(names, params, moved, len(both) - len(moved), alone)


def _differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for key in sorted({*first, *second}):
        if first.get(key, NO_KEY) != second.get(key, NO_KEY):
            yield key, _text(first, key), _text(second, key)


def _text(params: Mapping[str, Any], key: str) -> str:
    return repr(params[key]) if key in params else NO_KEY


def _same_videos(key: Key, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether equal numbers of examples are equal videos: of one dataset, decoded alike."""
    _, form, test, *_ = key
    names = ("data", "labels")
    if any(first.get(f"{form}.{test}.{n}") != second.get(f"{form}.{test}.{n}") for n in names):
        return False
    begins = (f"data.{first.get(f'{form}.{test}.data')}.", "decode.")
    return all(
        first.get(leaf) == second.get(leaf) for leaf in {*first, *second} if leaf.startswith(begins)
    )


def _moved(key: Key, first: Sample, second: Sample, same_videos: bool) -> Moved:
    if not same_videos:
        first, second = (replace(s, examples=None, by_example=None) for s in (first, second))
    better = declarations.metric(key[-1]).better
    verdict = judge({"a": first, "b": second}, "low" if better == "low" else "high")
    known = verdict.rule != "largest"
    beyond = "best" in verdict.marks.values() if known and better != "none" else None
    return Moved(key, first.mean, second.mean, verdict.rule, beyond)


# ------------------------------------------------------------------ what is shown


def rows(found: Comparison) -> list[tuple[str, ...]]:
    """The moved numbers as cells, those beyond noise first."""
    order = sorted(found.moved, key=lambda one: one.beyond is not True)
    return [_cells(one) for one in order]


PARAM_HEADS = ("PARAMETER", "A", "B")
HEADS = ("ROW", "TEST", "BY", "METRIC", "A", "B", "DIFFERENCE", "BEYOND NOISE")


def _cells(one: Moved) -> tuple[str, ...]:
    row, _, test, protocol, name = one.key
    metric = declarations.metric(name)
    values = (shown(value, metric, DECIMALS) for value in (one.first, one.second))
    beyond = DASH if one.beyond is None else "yes" if one.beyond else "no"
    return (
        *(row, test, declarations.protocol(protocol).title, metric.title, *values),
        change(one.second - one.first, metric, DECIMALS),
        f"{beyond} ({KNOWN[one.rule]})",
    )


def summary(found: Comparison) -> str:
    """The sentence that says how much moved."""
    beyond = sum(one.beyond is True for one in found.moved)
    parts = [
        f"{found.equal} numbers are equal, {len(found.moved)} differ, {beyond} of them beyond noise"
    ]
    for name, keys in zip(("A", "B"), found.alone, strict=True):
        if keys:
            parts.append(f"{len(keys)} are in {name} only")
    return "; ".join(parts)


def text(found: Comparison) -> str:
    """For a terminal."""
    lines = [f"A: {found.names[0]}", f"B: {found.names[1]}", "", summary(found)]
    params = [PARAM_HEADS, *found.params]
    moved = [HEADS, *rows(found)]
    for table in (params, moved):
        if len(table) > 1:
            lines += ["", *_aligned(table)]
    return "\n".join(lines)


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table)
    return [line.rstrip() for line in lines]


def markdown(found: Comparison) -> str:
    """The same as Markdown."""
    lines = [f"A: `{found.names[0]}`, B: `{found.names[1]}`. {summary(found)}."]
    for head, body in ((PARAM_HEADS, found.params), (HEADS, rows(found))):
        if body:
            lines += ["", *(_line(row) for row in (head, ["---"] * len(head), *body))]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page(found: Comparison) -> str:
    """The same as one page that opens offline."""
    return (
        pages.environment()
        .get_template("compare.html")
        .render(
            title="Two studies compared",
            names=found.names,
            style=pages.style(),
            summary=summary(found),
            param_heads=PARAM_HEADS,
            params=found.params,
            heads=HEADS,
            rows=rows(found),
        )
    )
