"""Sample-efficiency curves: tests that differ only in their share of the labels, a line per row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.ticker import NullLocator, StrMethodFormatter

from videossl.report.drawing import STYLE, Drawing, canvas, svg_text
from videossl.report.figures import line_of
from videossl.report.layout import Row
from videossl.report.tables import Column, Table
from videossl.report.wording import joined, unit

if TYPE_CHECKING:
    from videossl.study.schema import Finetune

Place = tuple[float, Column]  # share of the labels, and the column of the test that has it


def draw(
    tables: Sequence[Table], finetune: Mapping[str, Finetune], rows: Sequence[Row]
) -> list[Drawing]:
    """A figure of each set of tests that differ in ``share`` only, for each protocol of theirs."""
    with matplotlib.style.context(["default", STYLE]):
        return [
            _curve(table, places, rows)
            for table in tables
            for places in _families(table, finetune)
            if len({share for share, _ in places}) > 1
        ]


def _families(table: Table, finetune: Mapping[str, Finetune]) -> Iterator[list[Place]]:
    found: dict[tuple[str, str], list[Place]] = {}
    for group in table.groups:
        columns = table.of(group)
        if group.form == "finetune" and columns:
            share, others = _split(finetune[group.test])
            found.setdefault((group.protocol, others), []).append((share, columns[0]))
    for places in found.values():
        yield sorted(places, key=lambda place: place[0])


def _split(spec: Finetune) -> tuple[float, str]:
    """A test's share, and all else that it has."""
    others = {name: value for name, value in sorted(vars(spec).items()) if name != "share"}
    return spec.share, repr(others)


def _curve(table: Table, places: Sequence[Place], rows: Sequence[Row]) -> Drawing:
    figure, axes = canvas(2.6)
    column = places[0][1]
    scale = 100 if column.declared.share else 1
    said = []
    for row in rows:
        known = [
            (100 * share, scale * cell.value)
            for share, own in places
            if (cell := table.cells.get((row.name, own))) is not None
        ]
        if known:
            shares, values = zip(*known, strict=True)
            axes.plot(shares, values, marker="o", markersize=3.5, **line_of(row, rows))
            reached = ", ".join(f"{v:.1f} at {s:g} %" for s, v in known)
            said.append(f"{row.title} {reached}")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([100 * share for share, _ in places])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
    axes.yaxis.set_major_formatter(StrMethodFormatter(f"{{x:g}}{unit(column.declared)}"))
    axes.grid(axis="y")
    axes.set_xlabel("labels that are used")
    title = f"{column.group.title}, {column.title}, by share of the labels"
    axes.set_title(title)
    figure.legend(loc="outside lower left", ncols=3, handlelength=1.6, columnspacing=1.4)
    tests = joined([own.group.test for _, own in places])
    description = f"{title} (tests {tests}): {'; '.join(said)}."
    name = f"efficiency-{column.group.test}-{column.group.protocol}"
    return Drawing(name, "efficiency", table.title, description, svg_text(figure))
