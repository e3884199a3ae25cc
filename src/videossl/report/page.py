"""The report: one HTML file with its style, figures and numbers inside, that loads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from typing import Any

from videossl.report import sections
from videossl.report.figures import Drawing, themed
from videossl.report.tables import (
    DASH,
    Cell,
    Table,
    method_name,
    metric_name,
    percent,
    points,
    protocol_name,
)


@dataclass(frozen=True)
class Study:
    """What the page shows: numbers, figures, what each stage and dataset say about themselves."""

    title: str
    decimals: int
    tables: Sequence[Table]
    drawings: Sequence[Drawing]
    records: Sequence[Mapping[str, Any]]  # stage.json of every stage read
    manifests: Mapping[str, Mapping[str, Any]]  # dataset -> manifest.json


def render(study: Study) -> str:
    """The whole page as HTML text."""
    folder = resources.files("videossl.report")
    template = Template((folder / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(study.title),
        style=(folder / "style.css").read_text(encoding="utf-8").strip(),
        facts=_facts(study),
        summary=_summary(study),
        tiles="".join(_tiles(table, study.decimals) for table in study.tables),
        results="\n".join(_results(study, table) for table in study.tables),
        training=_training(study),
        cost=sections.durations(study.records),
        data="\n".join(
            sections.data(t.dataset, study.manifests.get(t.dataset)) for t in study.tables
        ),
        definitions=sections.definitions(p for table in study.tables for p in table.protocols),
        parameters=sections.parameters(study.records),
    )


# ------------------------------------------------------------------ head


def _facts(study: Study) -> str:
    rows = study.tables[0].rows
    names = ", ".join(table.dataset for table in study.tables)
    parts = [f"{'dataset' if len(study.tables) == 1 else 'datasets'} {names}"]
    parts.append(sections.counted(len(rows), "encoder"))
    parts += [
        f"{key} {', '.join(values)}"
        for key in ("split", "seed")
        if (values := sorted(sections.values(study.records, "params").get(key, {})))
    ]
    return escape(" · ".join(parts))


def _summary(study: Study) -> str:
    """The best row of each protocol with its gain, in words, from the numbers."""
    sentences = [s for table in study.tables if (s := _sentence(table, study.decimals))]
    return " ".join(sentences) or "No evaluation has finished yet."


def _sentence(table: Table, decimals: int) -> str:
    groups: dict[str, list[str]] = {}
    for protocol, metrics in table.protocols.items():
        winners = table.winners(protocol, metrics[0])
        cell = table.cells[winners[0], protocol, metrics[0]]
        shown = f"{percent(cell.value, decimals)} %"
        if cell.gain is not None:
            shown += f", {points(cell.gain, decimals)} points"
        names = escape(_joined([method_name(name) for name in winners]))
        verb = "is" if len(winners) == 1 else "are"
        what = f"{escape(_in_sentence(protocol))} ({shown})"
        groups.setdefault(f"<strong>{names}</strong> {verb} best in ", []).append(what)
    clauses = [who + _joined(what) for who, what in groups.items()]
    if not clauses:
        return ""
    versus = f" Gains are over {escape(method_name(table.baseline))}."
    return f"On {escape(table.dataset)}, {'; '.join(clauses)}.{versus}"


def _in_sentence(protocol: str) -> str:
    name = protocol_name(protocol)
    return name if name[:2] != name[:2].title() else name[0].lower() + name[1:]


def _joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tiles(table: Table, decimals: int) -> str:
    """One tile per protocol: its best value, whose it is, the gain."""
    items = []
    for protocol, metrics in table.protocols.items():
        winners = table.winners(protocol, metrics[0])
        cell = table.cells[winners[0], protocol, metrics[0]]
        who = escape(_joined([method_name(name) for name in winners]))
        baseline = escape(method_name(table.baseline))
        if cell.gain is not None:
            gain = f"{_gain(cell.gain, decimals, 'b')} points over {baseline}"
        elif table.baseline in winners:
            gain = "the baseline" if len(winners) == 1 else f"no gain over {baseline}"
        else:
            gain = f"{baseline} not evaluated"
        what = f"{escape(protocol_name(protocol))} <i>{escape(metric_name(metrics[0]))}</i>"
        items.append(
            f'<li><span class="what">{what}</span>'
            f'<span class="number">{percent(cell.value, decimals)}<small> %</small></span>'
            f'<span class="who">{who}</span><span class="who gain">{gain}</span></li>'
        )
    label = escape(f"Best results on {table.dataset}")
    return f'<ul class="tiles" aria-label="{label}">{"".join(items)}</ul>\n' if items else ""


def _gain(gain: float, decimals: int, tag: str) -> str:
    text = points(gain, decimals)
    change = round(100 * gain, decimals)
    direction = "up" if change > 0 else "down" if change < 0 else "none"
    return f'<{tag} class="{direction}">{text}</{tag}>'


# ------------------------------------------------------------------ results


def _results(study: Study, table: Table) -> str:
    title = f"<h3>{escape(table.dataset)}</h3>\n" if len(study.tables) > 1 else ""
    if not table.columns:
        return f'{title}<p class="none">No evaluation of {escape(table.dataset)} yet.</p>'
    label = escape(f"Results on {table.dataset}")
    body = "\n".join(_result_row(table, row, study.decimals) for row in table.rows)
    bars = [d for d in study.drawings if d.group == "bars" and d.dataset == table.dataset]
    note = (
        f"Bars with their 95 % intervals; the dashed line is {method_name(table.baseline)}. "
        "The intervals say how far chance in the choice of test videos reaches, not how much "
        "another seed would change."
    )
    return (
        f'{title}<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n'
        f'<table class="wide results">\n<caption class="unseen">{label}</caption>\n'
        f"{_result_head(table)}\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
        f'<p class="note">{_reading(table, study.decimals)}</p>\n'
        f'{_figures(bars)}\n<p class="note">{escape(note)}</p>'
    )


def _reading(table: Table, decimals: int) -> str:
    counts = sorted({cell.n for cell in table.cells.values()})
    halves = [(cell.high - cell.low) / 2 for cell in table.cells.values()]
    videos = " to ".join(dict.fromkeys((f"{counts[0]:,}", f"{counts[-1]:,}")))
    return escape(
        f"Per cent of {videos} test videos of {table.dataset}; small figures: points over "
        f"{method_name(table.baseline)}. The best of each column is bold. 95 % intervals "
        f"(Wilson) reach up to ±{percent(max(halves), decimals)} points; each cell's own is in its "
        "tooltip and in the bars below."
    )


def _result_head(table: Table) -> str:
    groups = [
        f'<th scope="colgroup" colspan="{len(metrics)}" class="group">'
        f"{escape(protocol_name(protocol))}</th>"
        for protocol, metrics in table.protocols.items()
    ]
    spans = ["<colgroup><col></colgroup>"]
    spans += [
        f'<colgroup span="{len(metrics)}"></colgroup>' for metrics in table.protocols.values()
    ]
    heads = [
        f'<th scope="col" aria-sort="none"{_start(table, column)}>'
        f'<button type="button">{escape(metric_name(column[1]))}</button></th>'
        for column in table.columns
    ]
    method = '<th scope="col" aria-sort="none"><button type="button">Method</button></th>'
    return (
        f"{''.join(spans)}\n<thead>\n<tr><td></td>{''.join(groups)}</tr>\n"
        f"<tr>{method}{''.join(heads)}</tr>\n</thead>"
    )


def _result_row(table: Table, row: str, decimals: int) -> str:
    tag = ' <span class="tag">baseline</span>' if row == table.baseline else ""
    cells = [
        _result_cell(table.cells.get((row, *column)), _classes(table, column), decimals)
        for column in table.columns
    ]
    return f'<tr><th scope="row">{escape(method_name(row))}{tag}</th>{"".join(cells)}</tr>'


def _result_cell(cell: Cell | None, classes: list[str], decimals: int) -> str:
    if cell is None:
        return f'<td class="{" ".join([*classes, "none"])}">{DASH}</td>'
    low, high = percent(cell.low, decimals), percent(cell.high, decimals)
    half = percent((cell.high - cell.low) / 2, decimals)
    title = f"95 % interval {low} to {high} % (±{half}), {cell.n:,} test videos"
    names = " ".join([*classes, *(["best"] if cell.best else [])])
    marked = f' class="{names}"' if names else ""
    gain = "" if cell.gain is None else _gain(cell.gain, decimals, "small")
    value = percent(cell.value, decimals)
    return f'<td{marked} data-value="{cell.value!r}" title="{title}">{value}{gain}</td>'


def _classes(table: Table, column: tuple[str, str]) -> list[str]:
    """Columns that begin a protocol stand apart from the one before."""
    return ["start"] if table.protocols[column[0]][0] == column[1] else []


def _start(table: Table, column: tuple[str, str]) -> str:
    return ' class="start"' if _classes(table, column) else ""


def _figures(drawings: Iterable[Drawing]) -> str:
    items = [f"<figure>{themed(drawing)}</figure>" for drawing in drawings]
    return f'<div class="figures">\n{chr(10).join(items)}\n</div>'


def _training(study: Study) -> str:
    parts = []
    before = [drawing for drawing in study.drawings if drawing.group == "pretraining"]
    if before:
        note = "Thin: as logged. Thick: running mean over a twentieth of the steps. "
        note += "Losses of different methods have no common scale."
        parts.append(f'<h3>Pretraining</h3>\n{_figures(before)}\n<p class="note">{note}</p>')
    for table in study.tables:
        after = [d for d in study.drawings if (d.group, d.dataset) == ("finetuning", table.dataset)]
        if after:
            parts.append(f"<h3>Fine-tuning on {escape(table.dataset)}</h3>\n{_figures(after)}")
    return "\n".join(parts) or '<p class="none">No training curve yet.</p>'
