"""The last stage: every evaluation of the study to tables, figures and one page.

The numbers come from the stages' own folders, never from another file of results. Folders of rows
that the study no longer has are left out, so both engines report the same from other layouts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from videossl.job import Job, UserError
from videossl.report import figures, page, tables

if TYPE_CHECKING:
    from videossl.study.reads import AggregateParams

CURVE_ROWS = 1000  # rows of one curve in curves.csv; the whole curve stays with its own stage

ROLES = {  # in the order of the work
    "data": ("decode",),
    "pretrainings": ("pretrain", "initialize"),
    "finetunings": ("finetune",),
    "evaluations": ("evaluate",),
}


@dataclass(frozen=True)
class Folder:
    """The output of one stage instance and what it says about itself (``stage.json``)."""

    path: Path
    record: Mapping[str, Any]

    @property
    def row(self) -> str | None:
        """The row of the study it belongs to; ``None`` for stages of a dataset."""
        who = self.record["who"]
        return next((who[key] for key in ("method", "encoder", "baseline") if key in who), None)

    @property
    def dataset(self) -> str | None:
        """The dataset it belongs to; ``None`` for pretraining, which has one for all."""
        name: str | None = self.record["who"].get("dataset")
        return name


def run(job: Job, params: AggregateParams) -> None:
    """Write ``results.{csv,md,tex}``, ``metrics.json``, plots' data, figures and ``report.html``.

    Raises:
        UserError: ``report.baseline`` is not a row of the study.
    """
    rows = [*params.baselines, *params.methods.model_dump(exclude_unset=True)]
    datasets = params.evaluate.datasets
    if params.report.baseline not in rows:
        allowed = ", ".join(rows)
        found = params.report.baseline
        raise UserError(f"report.baseline = {found!r}: must be a row of the study: {allowed}")
    folders = {
        role: select(collect(job.inputs.get(role, ()), stages), rows, datasets)
        for role, stages in ROLES.items()
    }
    protocols = {
        *params.evaluate.finetuned.model_dump(exclude_unset=True),
        *params.evaluate.frozen.model_dump(exclude_unset=True),
    }
    results = read_results(folders["evaluations"], rows, datasets, protocols)
    built = tables.build_tables(results, rows, datasets, params.report.baseline)
    curves = read_curves([*folders["pretrainings"], *folders["finetunings"]], rows, datasets)
    _write_tables(job.out, results, built, params.report.decimals)
    columns = ["method", "stage", "step", "epoch", "loss", "lr", "dataset"]
    _write_csv(curves[columns], job.out / "curves.csv")
    _write_plots(curves, job.out / "plots")
    drawings = figures.draw_all(built, curves, params.report.decimals)
    (job.out / "figures").mkdir()
    for drawing in drawings:
        path = job.out / "figures" / f"{drawing.name}.svg"
        path.write_text(drawing.svg, encoding="utf-8")
    study = page.Study(
        title=params.report.title,
        decimals=params.report.decimals,
        tables=built,
        drawings=drawings,
        records=[folder.record for role in ROLES for folder in folders[role]],
        manifests=_manifests(folders["data"], datasets),
    )
    (job.out / "report.html").write_text(page.render(study), encoding="utf-8")


# ------------------------------------------------------------------ finding the inputs


def collect(paths: Iterable[Path], stages: Sequence[str]) -> list[Folder]:
    """Every stage output at or below ``paths`` whose stage is one of ``stages``, once each.

    One engine names each output, the other the folder that holds them all; hidden folders are
    outputs that are still being written. Sorted by stage and instance, not by place.
    """
    found: dict[tuple[str, ...], Folder] = {}
    for path in paths:
        for place, below, files in os.walk(path, followlinks=True):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if "stage.json" not in files:
                continue
            record = json.loads(Path(place, "stage.json").read_text(encoding="utf-8"))
            if record["stage"] in stages:
                instance = [text for pair in sorted(record["who"].items()) for text in pair]
                found.setdefault((record["stage"], *instance), Folder(Path(place), record))
    return [found[key] for key in sorted(found)]


def select(folders: Iterable[Folder], rows: Sequence[str], datasets: Sequence[str]) -> list[Folder]:
    """Those that belong to a row and a dataset of the study, in the study's order."""
    kept = [
        folder
        for folder in folders
        if (folder.row is None or folder.row in rows)
        and (folder.dataset is None or folder.dataset in datasets)
    ]
    order = {name: i for i, name in enumerate([None, *rows])}
    return sorted(kept, key=lambda folder: order[folder.row])


def read_results(
    folders: Iterable[Folder], rows: Sequence[str], datasets: Sequence[str], protocols: set[str]
) -> pd.DataFrame:
    """The long form: one line per row, dataset, protocol, split and metric; values are shares."""
    lines = []
    for folder in folders:
        one = json.loads((folder.path / "metrics.json").read_text(encoding="utf-8"))
        metrics = one.pop("metrics")
        lines += [one | {"metric": metric, "value": value} for metric, value in metrics.items()]
    frame = pd.DataFrame(lines, columns=list(tables.COLUMNS))
    kept = frame["method"].isin(rows) & frame["dataset"].isin(datasets)
    kept &= frame["protocol"].isin(protocols)
    return tables.sort_results(frame[kept], rows, datasets)


def read_curves(
    folders: Iterable[Folder], rows: Sequence[str], datasets: Sequence[str]
) -> pd.DataFrame:
    """All training curves under one another; what a stage does not log is left empty."""
    columns = ["method", "stage", "step", "epoch", "loss", "lr", "dataset", "validation_top1"]
    parts = []
    for folder in folders:
        path = folder.path / "curve.tsv"
        if not path.exists():  # random weights have no training
            continue
        curve = thin(pd.read_csv(path, sep="\t"))
        stage = folder.record["stage"]
        parts.append(curve.assign(method=folder.row, stage=stage, dataset=folder.dataset))
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat([part.reindex(columns=columns).astype(object) for part in parts])


def thin(curve: pd.DataFrame, limit: int = CURVE_ROWS) -> pd.DataFrame:
    """At most ``limit`` rows: of each run of neighbours the mean loss and, for the rest, the last.

    Per-step logs of a large study have millions of rows; a browser draws a few hundred.
    """
    if len(curve) <= limit:
        return curve
    groups = curve.groupby([i * limit // len(curve) for i in range(len(curve))])
    return groups.last().assign(loss=groups["loss"].mean())


def _manifests(folders: Iterable[Folder], datasets: Sequence[str]) -> dict[str, dict[str, Any]]:
    read = [json.loads((f.path / "manifest.json").read_text(encoding="utf-8")) for f in folders]
    by_name = {manifest["dataset"]: manifest for manifest in read}
    return {name: by_name[name] for name in datasets if name in by_name}


# ------------------------------------------------------------------ writing


def _write_tables(
    out: Path, results: pd.DataFrame, built: Sequence[tables.Table], decimals: int
) -> None:
    _write_csv(results, out / "results.csv")
    (out / "results.md").write_text(tables.markdown(built, decimals), encoding="utf-8")
    (out / "results.tex").write_text(tables.latex(built, decimals), encoding="utf-8")
    nested: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    bars = []
    for table in built:
        primary = {(protocol, metrics[0]) for protocol, metrics in table.protocols.items()}
        for (row, protocol, metric), cell in table.cells.items():
            by_dataset = nested.setdefault(row, {}).setdefault(table.dataset, {})
            by_dataset.setdefault(protocol, {})[metric] = cell.value
            if (protocol, metric) in primary:
                bars.append((row, protocol, metric, cell.value, table.dataset))
    text = json.dumps(nested, indent=2, ensure_ascii=False) + "\n"
    (out / "metrics.json").write_text(text, encoding="utf-8")
    columns = ["method", "protocol", "metric", "value", "dataset"]
    frame = pd.DataFrame(bars, columns=columns)
    _write_csv(frame, out / "bars.csv")
    (out / "plots" / "bars").mkdir(parents=True)
    for pair, group in frame.groupby(["dataset", "protocol"], sort=False):
        name = "_".join(map(str, pair))
        _write_csv(group[["method", "value"]], out / "plots/bars" / f"{name}.csv")


def _write_plots(curves: pd.DataFrame, out: Path) -> None:
    """A file per curve: ``dvc plots`` draws a panel per file, and in it a line per experiment."""
    folder = out / "curves"
    folder.mkdir(parents=True)
    for (stage, row), group in curves.groupby(["stage", "method"], sort=False):
        for dataset, curve in group.groupby("dataset", dropna=False, sort=False):
            name = "_".join(part for part in (stage, row, dataset) if isinstance(part, str))
            _write_csv(curve[["epoch", "loss"]], folder / f"{name}.csv")


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")
