"""The report: one HTML file with its style, figures and numbers inside, that loads nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from videossl.report import published, sections, text_tables
from videossl.report.clips import NO_CLIPS, Clips
from videossl.report.dimensions import NONE_USED, Used
from videossl.report.drawing import Drawing, themed
from videossl.report.gallery import NO_GALLERY, Gallery
from videossl.report.inputs import Folder
from videossl.report.layout import Group, Row
from videossl.report.looks import NO_LOOKS, Looks
from videossl.report.moments import NO_MOMENTS, Moments
from videossl.report.noise import Rule
from videossl.report.tables import Cell, Column, Table
from videossl.report.wording import DASH, change, counted, direction, joined, shown, unit, with_unit

NAMED = 3  # leaders that a sentence or tile names; the rest are counted
NOT_YET = "No evaluation has finished yet."
NO_TEST = "The study has no tests."


@dataclass(frozen=True)
class Study:
    """What the page shows: numbers, figures, what each stage and dataset say about themselves."""

    title: str
    decimals: int
    seeds: Sequence[int]
    rows: Sequence[Row]
    tests: int  # that the study declares
    tables: Sequence[Table]
    drawings: Sequence[Drawing]
    folders: Sequence[Folder]  # of every stage read
    manifests: Mapping[str, Mapping[str, Any] | None]  # dataset -> manifest.json
    classes: Sequence[Mapping[str, Any]] = ()  # of each test and protocol; see ``classes.py``
    gallery: Gallery = NO_GALLERY
    clips: Clips = NO_CLIPS
    looks: Looks = NO_LOOKS
    moments: Moments = NO_MOMENTS
    published: Sequence[published.Beside] = ()
    overlaps: Sequence[tuple[str, str, str]] = ()  # see ``overlap.lines``
    dimensions: Used = NONE_USED


def environment() -> Environment:
    """What pages are made with: their templates; all that is not markup is escaped."""
    made = Environment(loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined)
    made.filters["breakable"] = _breakable
    return made


def style() -> Markup:
    """The style sheet of all pages."""
    return Markup(_source("style.css").strip())


def render(study: Study) -> str:
    """The whole page as HTML text."""
    rules: list[Rule] = [rule for table in study.tables for rule in table.rules.values()]
    protocols = [group.protocol for table in study.tables for group in table.groups]
    text = (
        environment()
        .get_template("page.html")
        .render(
            title=study.title,
            style=style(),
            facts=_facts(study),
            summary=[s for table in study.tables if (s := _sentence(table, study.decimals))],
            gains_are_over=_gains_are_over(study.tables),
            nothing=NOT_YET if study.tests else NO_TEST,
            tables=[_table(study, table) for table in study.tables],
            classes=study.classes,
            gallery=study.gallery,
            clips=study.clips,
            looks=study.looks,
            moments=study.moments,
            strips=[*study.gallery.strips, *study.clips.strips, *study.looks.strips],
            training=_training(study),
            dimensions=study.dimensions,
            durations=sections.durations(study.folders, study.rows),
            overlaps=study.overlaps,
            data=[sections.data(name, manifest) for name, manifest in study.manifests.items()],
            definitions=sections.definitions(
                protocols, [text_tables.RULES[rule] for rule in rules]
            ),
            parameters=sections.parameters(study.folders),
            versions=sections.versions(study.folders),
            dash=DASH,
            level=text_tables.LEVEL,
        )
    )
    return f"{text}\n"


def _source(name: str) -> str:
    return (resources.files("videossl.report") / name).read_text(encoding="utf-8")


def _breakable(name: str) -> Markup:
    """A key, a path or a ClassName that may be broken where its parts meet."""
    return Markup(re.sub(r"(?<=[._/])|(?<=[a-z])(?=[A-Z])", "<wbr>", str(escape(name))))


# ------------------------------------------------------------------ head


def _facts(study: Study) -> str:
    names = list(study.manifests)
    seeds = ", ".join(map(str, study.seeds))
    splits = sorted({s for table in study.tables for group in table.groups for s in group.splits})
    backbones = list(dict.fromkeys(row.backbone for row in study.rows))
    parts = [
        f"{'dataset' if len(names) == 1 else 'datasets'} {', '.join(names)}",
        counted(len(study.rows), "row"),
        f"{'backbone' if len(backbones) == 1 else 'backbones'} {', '.join(backbones)}",
        f"{'seed' if len(study.seeds) == 1 else 'seeds'} {seeds}",
    ]
    if splits:
        shown_splits = ", ".join(map(str, splits))
        parts.append(f"{'split' if len(splits) == 1 else 'splits'} {shown_splits}")
    return " · ".join(part for part in parts if not part.endswith(" "))


def _leading(table: Table) -> Iterator[tuple[Group, Column, list[Row], Cell]]:
    """Of each group: its first column, who leads there, and what the first of them has."""
    for group in table.groups:
        if columns := table.of(group):
            leaders = table.leaders(columns[0])
            yield group, columns[0], leaders, table.cells[leaders[0].name, columns[0]]


def _sentence(table: Table, decimals: int) -> dict[str, Any] | None:
    """Who is best by each protocol, with the gain, in words."""
    clauses: dict[tuple[str, str], list[str]] = {}
    for group, column, leaders, cell in _leading(table):
        value = with_unit(cell.value, column.declared, decimals)
        if cell.gain is not None:
            points = " points" if column.declared.share else ""
            value += f", {change(cell.gain, column.declared, decimals)}{points}"
        if len(leaders) > 1:
            verb = "are level in" if cell.mark == "level" else "are best in"
        else:
            verb = "is best in" if cell.mark == "best" else "is alone in"
        title = _in_sentence(table.group_title(group))
        clauses.setdefault((_names(leaders), verb), []).append(f"{title} ({value})")
    if not clauses:
        return None
    said = [{"who": who, "verb": verb, "what": joined(w)} for (who, verb), w in clauses.items()]
    return {"subject": table.title, "clauses": said}


def _in_sentence(title: str) -> str:
    """A title with a small first letter, unless it is a name: ``kNN``, ``UCF``."""
    return title if title[:2] != title[:2].title() else title[0].lower() + title[1:]


def _names(rows: Sequence[Row]) -> str:
    names = [row.title for row in rows]
    if len(names) > NAMED + 1:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return joined(names)


def _gains_are_over(tables: Sequence[Table]) -> str:
    """What gains are compared with, where any is shown."""
    with_gains = [t for t in tables if any(cell.gain is not None for cell in t.cells.values())]
    return text_tables.gains(with_gains[0]) if with_gains else ""


def _tiles(table: Table, decimals: int) -> list[dict[str, Any]]:
    """One tile per protocol: its best value, whose it is, the gain."""
    tiles = []
    for group, column, leaders, cell in _leading(table):
        tiles.append(
            {
                "group": table.group_title(group),
                "metric": column.title,
                "value": shown(cell.value, column.declared, decimals),
                "unit": unit(column.declared),
                "who": _names(leaders),
                "gain": _gain(cell, column, decimals),
                "versus": _versus(table, leaders, cell, column),
            }
        )
    return tiles


def _versus(table: Table, leaders: Sequence[Row], cell: Cell, column: Column) -> str:
    """What the best value is compared with."""
    leader = leaders[0]
    titles = {row.name: row.title for row in table.rows}
    if leader.baseline is None:
        if leader.pretrained:
            return "no baseline with its backbone"
        return "the baseline" if len(leaders) == 1 else "the baseline is among them"
    if cell.gain is None:
        return f"{titles[leader.baseline]} not evaluated"
    points = "points " if column.declared.share else ""
    return f"{points}over {titles[leader.baseline]}"


def _gain(cell: Cell, column: Column, decimals: int) -> dict[str, str] | None:
    if cell.gain is None:
        return None
    return {
        "text": change(cell.gain, column.declared, decimals),
        "direction": direction(cell.gain, column.declared, decimals),
    }


# ------------------------------------------------------------------ results


def _table(study: Study, table: Table) -> dict[str, Any]:
    same = published.marks(study.published)
    kinds = ("bars", "efficiency")
    drawings = [d for d in study.drawings if d.kind in kinds and d.subject == table.title]
    return {
        "title": table.title,
        "tiles": _tiles(table, study.decimals),
        "groups": [
            {"title": table.group_title(group), "width": len(table.of(group))}
            for group in table.groups
            if table.of(group)
        ],
        "columns": [
            {
                "title": column.title,
                "better": column.declared.better,
                "start": _starts(table, column),
            }
            for column in table.columns
        ],
        "rows": [
            {
                "title": row.title,
                "tag": "" if row.pretrained else "baseline",
                "cells": [
                    _cell(table, row, column, study.decimals)
                    | _published(same.get((row.name, column.group.key, column.metric), ()))
                    for column in table.columns
                ],
            }
            for row in table.rows
        ],
        "reading": " ".join(text_tables.reading(table)) if table.columns else "",
        "figures": _inline(drawings),
        "bars_note": _bars_note(table),
        "published": published.lines(study.published, table.title),
        "published_heads": published.HEADS,
    }


def _starts(table: Table, column: Column) -> bool:
    """Columns that begin a group stand apart from the one before."""
    return table.of(column.group)[0] == column


def _cell(table: Table, row: Row, column: Column, decimals: int) -> dict[str, Any]:
    start = "start" if _starts(table, column) else ""
    cell = table.cells.get((row.name, column))
    if cell is None:
        return {"value": None, "classes": start}
    metric = column.declared
    about = f"{cell.n:,} test examples"
    if cell.interval is not None:
        low, high = (shown(end, metric, decimals) for end in cell.interval)
        about = f"95 % interval {low} to {high}{unit(metric)}, {about}"
    return {
        "value": shown(cell.value, metric, decimals),
        "number": repr(cell.value),
        "classes": f"{start} {cell.mark}".strip() if cell.mark == "best" else start,
        "level": cell.mark == "level",
        "sd": "" if cell.sd is None else shown(cell.sd, metric, decimals),
        "gain": _gain(cell, column, decimals),
        "about": about,
    }


def _published(figures: Sequence[published.Figure]) -> dict[str, str]:
    """What was published of the same setting, and where."""
    return {
        "published": ", ".join(one.value for one in figures),
        "sources": "; ".join(one.source for one in figures),
    }


def _bars_note(table: Table) -> str:
    cells = table.cells.values()
    dashed = "the dashed line is the baseline" if table.references else ""
    if any(cell.sd is not None for cell in cells):
        marks = "Bars with their standard deviation over seeds, of shares within 0 to 100 %"
    elif any(cell.interval is not None for cell in cells):
        marks = (
            "Bars with their 95 % intervals (Wilson), which say how far chance in the choice of "
        )
        marks += "test examples reaches, not how much another seed would change"
    else:
        marks = "Bars"
    return f"{'; '.join(part for part in (marks, dashed) if part)}."


def _inline(drawings: Iterable[Drawing]) -> list[Markup]:
    return [Markup(themed(drawing)) for drawing in drawings]


def _training(study: Study) -> list[dict[str, Any]]:
    parts = []
    before = [drawing for drawing in study.drawings if drawing.kind == "pretraining"]
    if before:
        thin = "Thin: as logged. Thick: running" if len(study.seeds) == 1 else "Running"
        note = f"{thin} mean over a twentieth of the steps, where there are many. "
        note += "Losses of different methods have no common scale."
        parts.append({"title": "Pretraining", "figures": _inline(before), "note": note})
    after = [drawing for drawing in study.drawings if drawing.kind == "finetuning"]
    for test in dict.fromkeys(drawing.subject for drawing in after):
        own = [drawing for drawing in after if drawing.subject == test]
        note = "Thick: mean over seeds and splits." if len(study.seeds) > 1 else ""
        parts.append({"title": f"Fine-tuning: {test}", "figures": _inline(own), "note": note})
    return parts
