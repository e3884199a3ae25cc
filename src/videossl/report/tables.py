"""Long results to one table per dataset, and its Markdown and LaTeX forms.

A value is a share in 0..1 until it is shown; shown values are per cent, gains are points.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

COLUMNS = ("method", "dataset", "protocol", "split", "metric", "value", "n", "seed")

METHOD_NAMES = {
    "rspnet": "RSPNet",
    "rho_moco": "ρMoCo",
    "rho_byol": "ρBYOL",
    "rho_simclr": "ρSimCLR",
    "rho_swav": "ρSwAV",
    "vtdl": "VTDL",
    "hdc": "HDC",
    "sts": "STS",
    "order_geometry": "Order+Geometry",
    "v3s": "V3S",
    "modist": "MoDist",
}

PROTOCOL_NAMES = {
    "recognition": "Fine-tuned recognition",
    "linear": "Linear probe",
    "knn": "kNN",
    "retrieval": "Retrieval",
}

DASH = "–"
MINUS = "−"

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "ρ": r"$\rho$",
    "–": "--",
    "−": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {sign: f"\\{sign}" for sign in "&%$#_"}


@dataclass(frozen=True)
class Cell:
    """One number of a table: a share, the test videos behind it, its rank and its gain."""

    value: float
    n: int
    low: float
    high: float
    best: bool
    gain: float | None  # share; None on the baseline's row and where the baseline has no value


@dataclass(frozen=True)
class Table:
    """All numbers of one dataset: every row of the study by every protocol and metric."""

    dataset: str
    baseline: str
    rows: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # (protocol, metric)
    cells: dict[tuple[str, str, str], Cell]  # (row, protocol, metric)

    @property
    def protocols(self) -> dict[str, list[str]]:
        """Protocol -> its metrics, in the order of the columns; the first metric is primary."""
        groups: dict[str, list[str]] = {}
        for protocol, metric in self.columns:
            groups.setdefault(protocol, []).append(metric)
        return groups

    def winners(self, protocol: str, metric: str) -> list[str]:
        """The rows that share the best value; all that are equal to the last bit."""
        cells = {row: self.cells.get((row, protocol, metric)) for row in self.rows}
        return [row for row, cell in cells.items() if cell is not None and cell.best]


# ------------------------------------------------------------------ names and numbers


def method_name(name: str) -> str:
    """A row's name as the field writes it; an unknown one as it stands."""
    return METHOD_NAMES.get(name, name)


def protocol_name(name: str) -> str:
    """A protocol's name for a reader; an unknown one as it stands."""
    return PROTOCOL_NAMES.get(name, name)


def metric_name(name: str) -> str:
    """``top1`` -> ``top-1``, ``r@5`` or ``recall@5`` -> ``R@5``; others as they stand."""
    if match := re.fullmatch(r"top[-_]?(\d+)", name):
        return f"top-{match[1]}"
    if match := re.fullmatch(r"(?:r|recall)[@_]?(\d+)", name, re.IGNORECASE):
        return f"R@{match[1]}"
    return name


def percent(share: float, decimals: int) -> str:
    """A share as a number of per cent, without the sign ``%``."""
    return f"{100 * share:.{decimals}f}"


def points(share: float, decimals: int) -> str:
    """A difference of shares as signed points, with a real minus sign and no negative zero."""
    value = round(100 * share, decimals) + 0.0
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % score interval of a share out of ``n`` independent trials (Wilson, JASA 1927)."""
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


# ------------------------------------------------------------------ long form -> tables


def sort_results(
    results: pd.DataFrame, rows: Sequence[str], datasets: Sequence[str]
) -> pd.DataFrame:
    """Rows of ``results.csv`` in reading order: row, dataset, protocol, split, metric."""
    protocols = ordered_protocols(results["protocol"])
    metrics = {m: i for i, m in enumerate(ordered_metrics(results["metric"]))}
    rank = {
        "method": {name: i for i, name in enumerate(rows)},
        "dataset": {name: i for i, name in enumerate(datasets)},
        "protocol": {name: i for i, name in enumerate(protocols)},
        "metric": metrics,
    }
    return results.sort_values(
        ["method", "dataset", "protocol", "split", "metric"],
        key=lambda column: (
            column.map(rank[str(column.name)]) if str(column.name) in rank else column
        ),
        ignore_index=True,
    )


def ordered_protocols(names: Iterable[str]) -> list[str]:
    """The known protocols in their usual order, then the others by name."""
    present = set(names)
    known = [name for name in PROTOCOL_NAMES if name in present]
    return known + sorted(present - set(known))


def ordered_metrics(names: Iterable[str]) -> list[str]:
    """Metrics by first appearance of their stem, then by number: R@1, R@5, R@10."""
    stems: dict[str, int] = {}
    keys: dict[str, tuple[int, int]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)(\d*)", name)
        stem, number = (match[1], match[2]) if match else (name, "")
        keys.setdefault(name, (stems.setdefault(stem, len(stems)), int(number or 0)))
    return sorted(keys, key=keys.__getitem__)


def build_tables(
    results: pd.DataFrame, rows: Sequence[str], datasets: Sequence[str], baseline: str
) -> list[Table]:
    """One table per dataset; a value is the mean over splits, its interval that of all videos."""
    return [
        _table(results[results["dataset"] == dataset], dataset, tuple(rows), baseline)
        for dataset in datasets
    ]


def _table(part: pd.DataFrame, dataset: str, rows: tuple[str, ...], baseline: str) -> Table:
    groups = part.groupby(["method", "protocol", "metric"], sort=False)
    values: dict[tuple[str, str, str], float] = groups["value"].mean().to_dict()  # type: ignore[assignment]
    counts: dict[tuple[str, str, str], int] = groups["n"].sum().to_dict()  # type: ignore[assignment]
    columns = tuple(
        (protocol, metric)
        for protocol in ordered_protocols(part["protocol"])
        for metric in ordered_metrics(part.loc[part["protocol"] == protocol, "metric"])
    )
    cells: dict[tuple[str, str, str], Cell] = {}
    for protocol, metric in columns:
        present = [row for row in rows if (row, protocol, metric) in values]
        top = max(values[row, protocol, metric] for row in present)
        reference = values.get((baseline, protocol, metric))
        for row in present:
            value, n = float(values[row, protocol, metric]), int(counts[row, protocol, metric])
            low, high = wilson(value, n)
            compare = reference is not None and row != baseline
            gain = value - float(reference) if compare and reference is not None else None
            cells[row, protocol, metric] = Cell(value, n, low, high, value == top, gain)
    return Table(dataset, baseline, rows, columns, cells)


# ------------------------------------------------------------------ Markdown and LaTeX


def markdown(tables: Sequence[Table], decimals: int) -> str:
    """All tables in GitHub's Markdown: per cent, best bold, gain in points in parentheses."""
    return "\n".join(_markdown(table, decimals) for table in tables)


def _markdown(table: Table, decimals: int) -> str:
    heads = [f"{protocol_name(p)} {metric_name(m)}" for p, m in table.columns]
    lines = [
        f"## {_pipe(table.dataset)}",
        "",
        "| " + " | ".join(["Method", *map(_pipe, heads)]) + " |",
        "| " + " | ".join(["---", *["---:"] * len(heads)]) + " |",
    ]
    for row in table.rows:
        shown = [_pipe(method_name(row))]
        for column in table.columns:
            cell = table.cells.get((row, *column))
            shown.append(DASH if cell is None else _markdown_cell(cell, decimals))
        lines.append("| " + " | ".join(shown) + " |")
    note = f"Per cent of test videos; in parentheses, points over {method_name(table.baseline)}."
    return "\n".join([*lines, "", note, ""])


def _markdown_cell(cell: Cell, decimals: int) -> str:
    value = percent(cell.value, decimals)
    value = f"**{value}**" if cell.best else value
    return value if cell.gain is None else f"{value} ({points(cell.gain, decimals)})"


def _pipe(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")


def tex_escape(text: str) -> str:
    """``text`` with every character that LaTeX reads as a command made literal."""
    return "".join(_TEX.get(sign, sign) for sign in text)


def latex(tables: Sequence[Table], decimals: int) -> str:
    """All tables for LaTeX with the package booktabs; best bold, gain small beside the value."""
    head = "% Needs \\usepackage{booktabs}. Per cent of test videos; small: points over baseline.\n"
    return head + "\n".join(_latex(table, decimals) for table in tables)


def _latex(table: Table, decimals: int) -> str:
    groups = table.protocols
    spans, rules, start = [], [], 2
    for protocol, metrics in groups.items():
        end = start + len(metrics) - 1
        spans.append(
            f"\\multicolumn{{{len(metrics)}}}{{c}}{{{tex_escape(protocol_name(protocol))}}}"
        )
        rules.append(f"\\cmidrule(lr){{{start}-{end}}}")
        start = end + 1
    heads = [tex_escape(metric_name(metric)) for _, metric in table.columns]
    lines = [
        f"% {table.dataset}",
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        "\\toprule",
        *([" & ".join(["", *spans]) + " \\\\", " ".join(rules)] if groups else []),
        " & ".join(["Method", *heads]) + " \\\\",
        "\\midrule",
    ]
    for row in table.rows:
        shown = [tex_escape(method_name(row))]
        for column in table.columns:
            cell = table.cells.get((row, *column))
            shown.append(tex_escape(DASH) if cell is None else _latex_cell(cell, decimals))
        lines.append(" & ".join(shown) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _latex_cell(cell: Cell, decimals: int) -> str:
    value = percent(cell.value, decimals)
    value = f"\\textbf{{{value}}}" if cell.best else value
    if cell.gain is None:
        return value
    return f"{value} {{\\scriptsize ({tex_escape(points(cell.gain, decimals))})}}"
