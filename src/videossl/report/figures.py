"""Figures of the report as SVG text: bars with the baseline, training curves.

Same numbers, same bytes: no dates, identifiers from a fixed salt, text as text. Colours have names
(``INKS``), so that the page can exchange them for its light and dark scheme.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from videossl.report.tables import Cell, Table, method_name, metric_name, percent, protocol_name

INKS = {
    "paper": "#ffffff",
    "ink": "#1c232b",
    "soft": "#566270",
    "line": "#d9dfe5",
    "accent": "#1d5c9e",
    "pale": "#a5c2df",
    "neutral": "#a7b0ba",
    "s1": "#7d8791",
    "s2": "#1d5c9d",
    "s3": "#c8561a",
    "s4": "#2a8a5c",
    "s5": "#8a4fa8",
    "s6": "#a87a10",
    "s7": "#2a8799",
    "s8": "#b8406b",
}
SERIES = [INKS[f"s{number}"] for number in range(2, 9)]  # s1 is the baseline's
DASHES = ("-", (0, (4, 1.5)))  # a second round through the colours is dashed

FONTS = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
WIDTH = 5.3  # inches of 72 units; narrow, so that text stays readable on a phone

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "videossl",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlecolor": INKS["ink"],
    "axes.labelcolor": INKS["soft"],
    "axes.edgecolor": INKS["neutral"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": INKS["paper"],
    "figure.facecolor": INKS["paper"],
    "savefig.facecolor": INKS["paper"],
    "grid.color": INKS["line"],
    "grid.linewidth": 0.7,
    "text.color": INKS["ink"],
    "xtick.color": INKS["soft"],
    "ytick.color": INKS["soft"],
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}

MARKED = 30  # a curve of so few points shows them


@dataclass(frozen=True)
class Drawing:
    """One figure: its file name without ``.svg``, its group on the page, and what it shows."""

    name: str
    group: str  # "bars", "pretraining" or "finetuning"
    dataset: str | None  # pretraining is one for all datasets
    description: str
    svg: str


def draw_all(tables: Sequence[Table], curves: pd.DataFrame, decimals: int) -> list[Drawing]:
    """All figures of a study: bars per dataset and protocol, curves of both kinds of training.

    ``curves`` has the columns ``method, stage, step, epoch, loss, dataset, validation_top1``.
    """
    with matplotlib.style.context(["default", STYLE]):
        drawings = [
            _bars(table, protocol, metrics[0], decimals)
            for table in tables
            for protocol, metrics in table.protocols.items()
        ]
        drawings += _pretraining(curves[curves["stage"] == "pretrain"])
        tuned = curves[curves["stage"] == "finetune"]
        for table in tables:
            drawings += _finetuning(tuned[tuned["dataset"] == table.dataset], table)
    return drawings


def themed(drawing: Drawing) -> str:
    """The SVG as an element of the page: its colours follow the page's scheme, its ids are its own.

    Every colour of ``INKS`` becomes ``var(--name)``; size and fonts are left to the style sheet.
    """
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)
    head, body = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    if box is None:
        raise ValueError(f"{drawing.name}: matplotlib wrote an SVG without a viewBox")
    for name, colour in INKS.items():
        body = body.replace(colour, f"var(--{name})")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{drawing.name}-", body)
    label = html.escape(drawing.description)
    return f'<svg {box[0]} role="img" aria-label="{label}">{body.strip()}'


# ------------------------------------------------------------------ bars


def _bars(table: Table, protocol: str, metric: str, decimals: int) -> Drawing:
    """One bar per row with its 95 % interval; a dashed line at the baseline."""
    figure, axes = _figure(0.62 + 0.3 * len(table.rows))
    cells = [table.cells.get((row, protocol, metric)) for row in table.rows]
    for position, (row, cell) in enumerate(zip(table.rows, cells, strict=True)):
        _bar(axes, position, cell, row == table.baseline, decimals)
    reference = table.cells.get((table.baseline, protocol, metric))
    if reference is not None:
        axes.axvline(
            100 * reference.value, color=INKS["soft"], linewidth=0.9, linestyle=(0, (4, 3))
        )
    top = max(cell.high for cell in cells if cell is not None)
    axes.set_xlim(0, max(114 * top, 1))
    axes.set_ylim(len(cells) - 0.45, -0.55)
    axes.set_yticks(range(len(cells)), [method_name(row) for row in table.rows])
    axes.tick_params(axis="y", length=0, labelcolor=INKS["ink"])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
    title = f"{protocol_name(protocol)}, {metric_name(metric)}"
    axes.set_title(title)
    shown = [
        f"{method_name(row)} {percent(cell.value, decimals)} %"
        if cell is not None
        else f"{method_name(row)} not evaluated"
        for row, cell in zip(table.rows, cells, strict=True)
    ]
    description = f"Bars of {title} on {table.dataset}: {', '.join(shown)}."
    return Drawing(
        f"bars_{table.dataset}_{protocol}", "bars", table.dataset, description, _svg(figure)
    )


def _bar(axes: Axes, position: int, cell: Cell | None, baseline: bool, decimals: int) -> None:
    if cell is None:
        axes.annotate("–", (0, position), (4, 0), textcoords="offset points", va="center")
        return
    fill = INKS["neutral" if baseline else "accent" if cell.best else "pale"]
    value, low, high = 100 * cell.value, 100 * cell.low, 100 * cell.high
    axes.barh(position, value, height=0.62, color=fill)
    for colour, width in (("paper", 2.8), ("ink", 1.1)):  # the rim keeps it visible on its bar
        axes.plot([low, high], [position] * 2, color=INKS[colour], linewidth=width)
    axes.annotate(
        percent(cell.value, decimals),
        (high, position),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontweight="bold" if cell.best else "normal",
    )


# ------------------------------------------------------------------ curves


def _pretraining(curves: pd.DataFrame) -> Iterator[Drawing]:
    """One panel per method: losses of different methods have no common scale."""
    for name, curve in curves.groupby("method", sort=False):
        figure, axes = _figure(2.1)
        step, loss = _numbers(curve["step"]), _numbers(curve["loss"])
        if len(loss) > MARKED:
            axes.plot(step, loss, color=INKS["pale"], linewidth=0.8)
            loss = loss.rolling(max(3, len(loss) // 20), center=True, min_periods=1).mean()
            axes.plot(step, loss, color=INKS["accent"], linewidth=1.8)
        else:
            axes.plot(step, loss, color=INKS["accent"], linewidth=1.8, marker="o", markersize=3.5)
        _frame(axes, f"{method_name(str(name))}, pretraining loss", "step")
        description = (
            f"Pretraining loss of {method_name(str(name))}: {loss.iloc[0]:.3g} at the first, "
            f"{loss.iloc[-1]:.3g} at the last of {int(step.iloc[-1]):,} steps."
        )
        yield Drawing(f"pretraining_{name}", "pretraining", None, description, _svg(figure))


def _finetuning(curves: pd.DataFrame, table: Table) -> Iterator[Drawing]:
    """Validation top-1 and training loss of all rows in common axes."""
    if curves.empty:
        return
    for column, what in (("validation_top1", "validation top-1"), ("loss", "training loss")):
        figure, axes = _figure(2.6)
        ends = []
        for name, curve in curves.groupby("method", sort=False):
            values = _numbers(curve[column])
            last = f"{values.iloc[-1]:.3g}"
            if column == "validation_top1":
                values, last = 100 * values, f"{100 * values.iloc[-1]:.1f} %"
            marker = "o" if len(values) <= MARKED else None
            look = _look(str(name), table.rows, table.baseline) | {"label": method_name(str(name))}
            axes.plot(_numbers(curve["epoch"]), values, marker=marker, markersize=3, **look)
            ends.append(f"{method_name(str(name))} {last}")
        _frame(axes, f"Fine-tuning, {what}", "epoch")
        if column == "validation_top1":
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
        figure.legend(loc="outside lower left", ncols=4, handlelength=1.6, columnspacing=1.4)
        ending = f"after the last epoch: {', '.join(ends)}"
        description = f"Fine-tuning on {table.dataset}, {what} {ending}."
        name = f"finetuning_{table.dataset}_{column}"
        yield Drawing(name, "finetuning", table.dataset, description, _svg(figure))


def _look(name: str, rows: Sequence[str], baseline: str) -> dict[str, Any]:
    if name == baseline:
        return {"color": INKS["s1"], "linestyle": DASHES[0], "linewidth": 1.7}
    place = [row for row in rows if row != baseline].index(name)
    dashes = DASHES[place // len(SERIES) % len(DASHES)]
    return {"color": SERIES[place % len(SERIES)], "linestyle": dashes, "linewidth": 1.7}


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    return column.astype(float).reset_index(drop=True)


# ------------------------------------------------------------------ canvas


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _frame(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _svg(figure: Figure) -> str:
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=nothing)
    return re.sub(r"'DejaVu Sans'[^;\"]*", FONTS.replace('"', "'"), buffer.getvalue())
