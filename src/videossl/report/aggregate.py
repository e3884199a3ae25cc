"""The last stage: every evaluation of the study to tables, figures and one page.

The numbers come from the stages' own folders, never from another file of results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from videossl.job import Job
from videossl.report import (
    classes,
    clips,
    curves,
    dimensions,
    efficiency,
    figures,
    gallery,
    inputs,
    kept,
    layout,
    looks,
    moments,
    overlap,
    page,
    published,
    results,
    tables,
    text_tables,
)
from videossl.report.sources import Sources

if TYPE_CHECKING:
    from videossl.study.reads import AggregateParams

BARS = ("row", "form", "test", "protocol", "metric", "value", "sd")


def run(job: Job, params: AggregateParams) -> None:
    """Write ``results.{csv,md,tex}``, ``metrics.json``, plots' data, figures and ``report.html``.

    And ``published.csv``, and what ``videossl compare`` reads: see ``kept.py``.

    Raises:
        UserError: an input is damaged, or was made with other parameters.
    """
    folders = inputs.read(job)
    everything = [folder for role in inputs.ROLES for folder in folders[role]]
    inputs.check_agreement([*everything, *folders[inputs.EXAMPLES]], params)
    rows = layout.rows(params)
    evaluations = results.read(folders["evaluations"])
    groups = layout.groups(params, evaluations)
    built = tables.build(evaluations, rows, groups)
    trained = curves.read([*folders["encoders"], *folders["classifiers"]], rows)
    decimals = params.report.decimals
    manifests = {folder.key["dataset"]: folder.json("manifest.json") for folder in folders["data"]}
    seen = overlap.find(folders["encoders"], folders[inputs.EXAMPLES], manifests, rows, params)
    for line in overlap.lines(seen):
        print(f"seen before it is tested: {line[0]}: {line[1]} videos, in {line[2]}", flush=True)
    beside = published.compare(
        built,
        folders["encoders"],
        folders["data"],
        folders[inputs.EXAMPLES],
        manifests,
        params,
        decimals,
    )

    _write_csv(results.long_form(evaluations, rows, groups), job.out / "results.csv")
    _write(text_tables.markdown(built, decimals, beside), job.out / "results.md")
    _write(text_tables.latex(built, decimals, beside), job.out / "results.tex")
    _write_csv(published.frame(beside), job.out / "published.csv")
    nested = json.dumps(nested_means(built), indent=2, ensure_ascii=False)
    _write(f"{nested}\n", job.out / "metrics.json")
    _write_csv(trained[list(curves.COLUMNS)], job.out / "curves.csv")
    kept.write(everything, evaluations, job.out)
    _write_bars(built, job.out)
    _write_curves(trained, job.out / "plots" / "curves")
    drawings = figures.draw_all(built, trained, rows, decimals)
    drawings += efficiency.draw(built, params.finetune, rows)
    (job.out / "figures").mkdir()
    for drawing in drawings:
        _write(drawing.svg, job.out / "figures" / f"{drawing.name}.svg")
    selected = folders[inputs.EXAMPLES]
    sources = Sources.of(evaluations, rows, groups, selected, folders["data"])
    study = page.Study(
        title=params.report.title,
        decimals=decimals,
        seeds=params.seeds,
        rows=rows,
        tests=len(params.finetune) + sum(bool(test.run) for test in params.probe.values()),
        tables=built,
        drawings=drawings,
        folders=everything,
        manifests={name: manifests.get(name) for name in params.data},
        classes=classes.sections(evaluations, rows, groups, folders[inputs.EXAMPLES]),
        gallery=gallery.build(sources),
        clips=clips.build(folders["encoders"], rows),
        looks=looks.build(evaluations, rows, groups, folders[inputs.EXAMPLES]),
        moments=moments.build(sources),
        published=beside,
        overlaps=overlap.lines(seen),
        dimensions=dimensions.build(folders["features"], rows),
    )
    _write(page.render(study), job.out / "report.html")


def nested_means(built: Sequence[tables.Table]) -> dict[str, Any]:
    """Row -> ``form/test`` -> protocol -> metric -> mean, and ``<metric>_sd`` of several seeds."""
    nested: dict[str, Any] = {}
    for table in built:
        for (row, column), cell in table.cells.items():
            group = column.group
            by_test = nested.setdefault(row, {}).setdefault(f"{group.form}/{group.test}", {})
            means = by_test.setdefault(group.protocol, {})
            means[column.metric] = cell.value
            if cell.sd is not None:
                means[f"{column.metric}_sd"] = cell.sd
    return nested


# ------------------------------------------------------------------ writing


def _write_bars(built: Sequence[tables.Table], out: Path) -> None:
    """``bars.csv`` with the first metric of every protocol; for ``dvc plots`` a file for each."""
    folder = out / "plots" / "bars"
    folder.mkdir(parents=True)
    lines: list[tuple[Any, ...]] = []
    for table in built:
        for group in table.groups:
            if not (columns := table.of(group)):
                continue
            cells = [(row.name, table.cells.get((row.name, columns[0]))) for row in table.rows]
            own = [
                (row, *group.key, columns[0].metric, cell.value, cell.sd)
                for row, cell in cells
                if cell is not None
            ]
            frame = pd.DataFrame(own, columns=list(BARS))
            _write_csv(frame[["row", "value", "sd"]], folder / f"{'-'.join(group.key)}.csv")
            lines += own
    _write_csv(pd.DataFrame(lines, columns=list(BARS)), out / "bars.csv")


def _write_curves(trained: pd.DataFrame, folder: Path) -> None:
    """A file per curve: ``dvc plots`` draws a panel per file, and in it a line per experiment."""
    folder.mkdir(parents=True)
    for name, curve in curves.one_by_one(trained):
        _write_csv(curve[["epoch", "loss"]], folder / f"{name}.csv")


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")


def _write(text: str, path: Path) -> None:
    """Write text; bytes of names that are not UTF-8 are spelled out: ``\\udcff``."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
