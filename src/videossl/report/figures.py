"""Figures of the report: bars with the baseline, training curves with their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from videossl.downstream import declarations
from videossl.report.drawing import (
    DASHES,
    INKS,
    SERIES,
    STYLE,
    Drawing,
    canvas,
    frame,
    svg_text,
)
from videossl.report.layout import Group, Row
from videossl.report.tables import Cell, Column, Table
from videossl.report.text_tables import LEVEL, with_sd
from videossl.report.wording import DASH, unit

MARKED = 30  # a curve of so few points shows them


def draw_all(
    tables: Sequence[Table], curves: pd.DataFrame, rows: Sequence[Row], decimals: int
) -> list[Drawing]:
    """All figures of a study: bars per test and protocol, curves of both kinds of training.

    ``curves`` has the columns of ``curves.read``.
    """
    with matplotlib.style.context(["default", STYLE]):
        drawings = [
            _bars(table, group, table.of(group)[0], decimals)
            for table in tables
            for group in table.groups
            if table.of(group)
        ]
        drawings += _pretraining(curves[curves["stage"] == "pretrain"], rows)
        drawings += _finetuning(curves[curves["stage"] == "finetune"], rows)
    return drawings


# ------------------------------------------------------------------ bars


def _bars(table: Table, group: Group, column: Column, decimals: int) -> Drawing:
    """One bar per row with its sd or interval; dashed, the value of the baseline of each row."""
    figure, axes = canvas(0.62 + 0.3 * len(table.rows))
    cells = [table.cells.get((row.name, column)) for row in table.rows]
    scale = 100 if column.declared.share else 1
    reaches = [_reach(cell, column) for cell in cells if cell is not None]
    for position, (row, cell) in enumerate(zip(table.rows, cells, strict=True)):
        _bar(axes, position, row, cell, column, decimals)
    for value, first, last in _references(table, column):
        axes.plot(
            [scale * value] * 2,
            [first - 0.5, last + 0.5],
            color=INKS["soft"],
            linewidth=0.9,
            linestyle=(0, (4, 3)),
        )
    top = scale * max(0.0, *(high for _, high in reaches), 0.0)
    bottom = scale * min(0.0, *(low for low, _ in reaches), 0.0)
    several = any(cell is not None and cell.sd is not None for cell in cells)
    room = 0.3 if several else 0.18  # for the text beside the longest bar
    axes.set_xlim(1.05 * bottom, top + room * (top - bottom) if top > bottom else 1)
    axes.set_ylim(len(cells) - 0.45, -0.55)
    axes.set_yticks(range(len(cells)), [row.title for row in table.rows])
    axes.tick_params(axis="y", length=0, labelcolor=INKS["ink"])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter(f"{{x:g}}{unit(column.declared)}"))
    title = f"{table.group_title(group)}, {column.title}"
    axes.set_title(title)
    values = [
        f"{row.title} {with_sd(cell, column, decimals)}{unit(column.declared)}"
        if cell is not None
        else f"{row.title} not evaluated"
        for row, cell in zip(table.rows, cells, strict=True)
    ]
    description = f"Bars of {title} on {table.title}: {', '.join(values)}."
    name = "-".join(("bars", *group.key))
    return Drawing(name, "bars", table.title, description, svg_text(figure))


def _reach(cell: Cell, column: Column) -> tuple[float, float]:
    """From where to where the mark on a bar goes: ± sd over seeds, else its interval.

    That of a share stays within 0 and 1, where shares are.
    """
    if cell.sd is not None:
        low, high = cell.value - cell.sd, cell.value + cell.sd
        return (max(low, 0.0), min(high, 1.0)) if column.declared.share else (low, high)
    return cell.interval or (cell.value, cell.value)


def _references(table: Table, column: Column) -> Iterator[tuple[float, int, int]]:
    """Value of a baseline, first and last position of neighbours that are compared with it."""
    names = [row.baseline or (row.name if not row.pretrained else None) for row in table.rows]
    first = 0
    for position in range(1, len(names) + 1):
        if position == len(names) or names[position] != names[first]:
            name = names[first]
            cell = table.cells.get((name, column)) if name is not None else None
            if cell is not None:
                yield cell.value, first, position - 1
            first = position


def _bar(
    axes: Axes, position: int, row: Row, cell: Cell | None, column: Column, decimals: int
) -> None:
    if cell is None:
        axes.annotate(DASH, (0, position), (4, 0), textcoords="offset points", va="center")
        return
    best = cell.mark == "best"
    fill = INKS["neutral" if not row.pretrained else "accent" if best else "pale"]
    scale = 100 if column.declared.share else 1
    low, high = (scale * end for end in _reach(cell, column))
    axes.barh(position, scale * cell.value, height=0.62, color=fill)
    if high > low:
        for colour, width in (("paper", 2.8), ("ink", 1.1)):  # the rim keeps it visible on its bar
            axes.plot([low, high], [position] * 2, color=INKS[colour], linewidth=width)
    axes.annotate(
        with_sd(cell, column, decimals) + (f" {LEVEL}" if cell.mark == "level" else ""),
        (max(high, 0), position),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontweight="bold" if best else "normal",
    )


# ------------------------------------------------------------------ curves


def _pretraining(curves: pd.DataFrame, rows: Sequence[Row]) -> Iterator[Drawing]:
    """One panel per row, all its seeds in it: losses of different methods have no common scale."""
    for row in rows:
        own = curves[curves["row"] == row.name]
        if own.empty:
            continue
        figure, axes = canvas(2.1)
        runs = list(own.groupby("seed", sort=False))
        ends = []
        for place, (seed, curve) in enumerate(runs):
            colour = INKS["accent"] if len(runs) == 1 else SERIES[place % len(SERIES)]
            step, loss = _numbers(curve["step"]), _numbers(curve["loss"])
            look: dict[str, Any] = {"color": colour, "linewidth": 1.8, "label": f"seed {seed}"}
            if len(loss) > MARKED:
                if len(runs) == 1:
                    axes.plot(step, loss, color=INKS["pale"], linewidth=0.8)
                loss = loss.rolling(max(3, len(loss) // 20), center=True, min_periods=1).mean()
                axes.plot(step, loss, **look)
            else:
                axes.plot(step, loss, marker="o", markersize=3.5, **look)
            said = "" if len(runs) == 1 else f"seed {seed}: "
            ends.append(
                f"{said}{loss.iloc[0]:.3g} at the first, {loss.iloc[-1]:.3g} at the last of "
                f"{int(step.iloc[-1]):,} steps"
            )
        frame(axes, f"{row.title}, pretraining loss", "step")
        if len(runs) > 1:
            figure.legend(loc="outside lower left", ncols=4, handlelength=1.6, columnspacing=1.4)
        description = f"Pretraining loss of {row.title}: {'; '.join(ends)}."
        name = f"pretraining-{row.name}"
        yield Drawing(name, "pretraining", row.name, description, svg_text(figure))


def _finetuning(curves: pd.DataFrame, rows: Sequence[Row]) -> Iterator[Drawing]:
    """Validation score and training loss of each test, all rows in common axes."""
    for test, own in curves.groupby("test", sort=False):
        measures = own["measure"].dropna()
        if len(measures) and own["score"].notna().any():
            measure = str(measures.iloc[0])
            yield _panel(str(test), own, rows, "score", f"validation {_title(measure)}", measure)
        yield _panel(str(test), own, rows, "loss", "training loss", None)


def _panel(
    test: str,
    curves: pd.DataFrame,
    rows: Sequence[Row],
    column: str,
    what: str,
    measure: str | None,
) -> Drawing:
    """One line per row, the mean over its seeds and splits; each of several runs thin behind it."""
    figure, axes = canvas(2.6)
    share = measure is not None and _share(measure)
    ends = []
    for row in rows:
        own = curves[curves["row"] == row.name]
        if own.empty:
            continue
        look = line_of(row, rows)
        runs = [curve for _, curve in own.groupby(["seed", "split"], dropna=False, sort=False)]
        if len(runs) > 1:
            for curve in runs:
                values = _numbers(curve[column]) * (100 if share else 1)
                thin = look | {"linewidth": 0.6, "label": None}
                axes.plot(_numbers(curve["epoch"]), values, **thin, alpha=0.5)
        mean = own.astype({column: float, "epoch": float}).groupby("epoch")[column].mean()
        mean = mean * (100 if share else 1)
        marker = "o" if len(mean) <= MARKED else None
        axes.plot(mean.index, mean, marker=marker, markersize=3, **look)
        last = f"{mean.iloc[-1]:.1f} %" if share else f"{mean.iloc[-1]:.3g}"
        ends.append(f"{row.title} {last}")
    frame(axes, f"Fine-tuning, {what}", "epoch")
    if share:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
    figure.legend(loc="outside lower left", ncols=3, handlelength=1.6, columnspacing=1.4)
    description = f"Fine-tuning, test {test}, {what} after the last epoch: {', '.join(ends)}."
    name = f"finetuning-{test}-{column}"
    return Drawing(name, "finetuning", test, description, svg_text(figure))


def _title(measure: str) -> str:
    try:
        return declarations.metric(measure).title
    except LookupError:  # a score for choosing the epoch need not be a metric of a protocol
        return measure


def _share(measure: str) -> bool:
    try:
        return declarations.metric(measure).share
    except LookupError:
        return False


def line_of(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """How a row's line looks wherever it is drawn, and its name.

    Baselines are gray, each with its dashes; a second round through the colours is dashed.
    """
    alike = [one.name for one in rows if one.pretrained == row.pretrained]
    place = alike.index(row.name)
    look: dict[str, Any] = {"label": row.title, "linewidth": 1.7}
    if not row.pretrained:
        return {**look, "color": INKS["s1"], "linestyle": DASHES[place % len(DASHES)]}
    dashes = DASHES[place // len(SERIES) % len(DASHES)]
    return {**look, "color": SERIES[place % len(SERIES)], "linestyle": dashes}


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    return column.astype(float).reset_index(drop=True)
