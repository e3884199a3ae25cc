"""What figures are drawn on: their style, their colours by name, SVG text that can be inlined.

Same numbers, same bytes: no dates, identifiers from a fixed salt, text as text. Colours have names
(``INKS``), so that the page can exchange them for its light and dark scheme.
"""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


@dataclass(frozen=True)
class Drawing:
    """One figure: its file name without ``.svg``, its place on the page, and what it shows."""

    name: str
    kind: str  # "bars", "efficiency", "pretraining" or "finetuning"
    subject: str  # the title of the table, the row, or the test
    description: str
    svg: str


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


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure of the page's width and ``height`` inches, and its axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def frame(axes: Axes, title: str, label: str) -> None:
    """Title, name of the x axis, grid and whole numbers of steps or epochs."""
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def svg_text(figure: Figure) -> str:
    """The figure as SVG text."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=nothing)
    return re.sub(r"'DejaVu Sans'[^;\"]*", FONTS.replace('"', "'"), buffer.getvalue())
