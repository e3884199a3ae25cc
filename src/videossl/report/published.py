"""Published figures beside ours: where the setting is the same, and what differs where it is not.

``published.csv`` holds figures that were read in the table that ``source`` names. Its columns: the
method as in ``params.yaml`` (``none`` is a network that was not pretrained); the backbone as
``kind`` writes it; ``task``, ρ of the ρ methods and the target of STS; inputs as frames x stride x
size, with ``cover`` for a stride where the frames cover the video; ``splits``, their numbers; and
``value`` in per cent. What the source does not state is empty, and then no setting is the same.
Strides are of the files' own frames, but where ``PLAYED`` has a rate.

A setting says nothing of augmentation, optimizer and views: two figures of one may still differ.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import pandas as pd

from videossl.downstream import declarations
from videossl.downstream.examples import FACTS
from videossl.report.inputs import Folder
from videossl.report.layout import METHOD_TITLES, NO_METHOD, Group, Row
from videossl.report.tables import Table
from videossl.report.wording import shown

if TYPE_CHECKING:
    from videossl.study.reads import AggregateParams

STANDARD_WIDTH = 64  # of the published networks; another is said
DATASETS = frozenset({"kinetics400", "ucf101", "hmdb51", "ssv2", "charades", "ava"})
# what a setting consists of beside method, test dataset, protocol and metric
SETTING = {
    "backbone": "backbone",
    "task": "target",
    "pretraining_data": "pretraining data",
    "epochs": "epochs",
    "pretraining_input": "pretraining input",
    "test_input": "test input",
    "splits": "splits",
}
UNLIKE = {  # what no source has, as far as it says; ours is empty where it has it not either
    "share": "labels: all, ours",
    "videos": "videos: all, ours without",
    "boxes": "tested boxes: a detector's, ours",
}
CLIP = ("frames", "stride", "size")
COLUMNS = (
    "row", "form", "test", "protocol", "metric", "ours", "published", "differs", "source",
)  # fmt: skip
# begin of a source -> frames a second that its code plays files of these datasets at: SlowFast's
# DATA.TARGET_FPS, which its loaders of frame lists (Something-Something, Charades) do not read
PLAYED = {"CVPR 2021": (30.0, frozenset({"kinetics400", "ucf101", "hmdb51"}))}
INPUTS = {"pretraining_input": "pretraining_data", "test_input": "test"}  # -> what they are of
HEADS = ("Row", "Number", "Published", "Ours", "What differs", "Source")
INPUT = r"(\d+x(\d+|cover)x\d+)?"
ALLOWED = {  # column -> pattern of a whole value
    "method": "|".join((NO_METHOD, *METHOD_TITLES)),
    "backbone": r"[a-z0-9_]+( [0-9-]+)?",
    "task": r"\d*|regression",
    "pretraining_data": f"({'|'.join(sorted(DATASETS))})?",
    "epochs": r"\d*",
    "pretraining_input": INPUT,
    "test": "|".join(sorted(DATASETS)),
    "test_input": INPUT,
    "protocol": "|".join(declarations.PROTOCOLS),
    "metric": r"\S+",
    "splits": r"(\d(,\d)*)?",
    "value": r"\d{1,2}\.\d+",
    "source": r".*\b(Table \d+|table of \w+)\b.*",
}


@dataclass(frozen=True)
class Figure:
    """A line of ``published.csv``."""

    method: str
    backbone: str
    task: str
    pretraining_data: str
    epochs: str
    pretraining_input: str
    test: str
    test_input: str
    protocol: str
    metric: str
    splits: str
    value: str
    source: str


@dataclass(frozen=True)
class Beside:
    """A published figure and ours.

    Attributes:
        table: the title of our table; ``row`` and ``column`` are for a reader.
        differs: what is not the same, in words; nothing where the setting is the same.
    """

    table: str
    row: str
    column: str
    place: tuple[str, tuple[str, str, str], str]  # row, key of the group, metric
    ours: str
    figure: Figure
    differs: tuple[str, ...]


def parse(text: str) -> list[Figure]:
    """The figures of a CSV text.

    Raises:
        ValueError: a column is absent or unknown, or a value is not allowed; with the line.
        LookupError: a metric is not declared.
    """
    table = csv.DictReader(text.splitlines())
    names = [field.name for field in fields(Figure)]
    if table.fieldnames != names:
        raise ValueError(f"published.csv: columns {table.fieldnames}; expected {names}")
    found = []
    for line in table:
        for name, pattern in ALLOWED.items():
            if not re.fullmatch(pattern, line[name] or ""):
                raise ValueError(
                    f"published.csv, line {table.line_num}: {name} = {line[name]!r}; "
                    f"expected {pattern}"
                )
        declarations.metric(line["metric"])
        found.append(Figure(**line))
    return found


@cache
def figures() -> tuple[Figure, ...]:
    """All figures of this package."""
    file = resources.files("videossl.report") / "published.csv"
    return tuple(parse(file.read_text(encoding="utf-8")))


def compare(
    tables: Sequence[Table],
    encoders: Iterable[Folder],
    decoded: Iterable[Folder],
    selected: Iterable[Folder],
    manifests: Mapping[str, Mapping[str, Any]],
    params: AggregateParams,
    decimals: int,
) -> list[Beside]:
    """Published figures of the methods and tests of the tables, in the tables' order.

    ``encoders`` are the outputs that rows were trained or initialized to: they say how; ``decoded``
    are those of ``decode``, ``selected`` those of ``select``.
    """
    boxes = {(one.key["form"], one.key["test"]): _boxes(one) for one in selected}
    gone = {name: _gone(name, manifest) for name, manifest in manifests.items()}
    stored = {folder.key["dataset"]: folder.record["params"] for folder in decoded}
    trained: dict[str, Mapping[str, Any]] = {}
    for folder in encoders:
        trained.setdefault(folder.key["row"], folder.record["params"])
    data = {name: _dataset(entry, manifests.get(name)) for name, entry in params.data.items()}
    found = []
    for table in tables:
        known = [one for one in figures() if one.test == data[table.dataset]]
        for row in table.rows:
            for column in table.columns:
                cell = table.cells.get((row.name, column))
                wanted = (row.method, column.group.protocol, column.metric)
                same = [one for one in known if (one.method, one.protocol, one.metric) == wanted]
                if cell is None or not same or row.name not in trained:
                    continue
                if (
                    not row.pretrained
                    and _value(trained[row.name], "baselines.*.weights") != "random"
                ):
                    continue  # somebody's weights
                ours = _setting(row, trained[row.name], data, stored)
                ours |= _tested(column.group, params, stored.get(table.dataset, {}))
                named = params.methods[row.name].data if row.pretrained else table.dataset
                without = dict.fromkeys(gone.get(name, "") for name in (named, table.dataset))
                ours["videos"] = " and ".join(filter(None, without))
                ours["boxes"] = boxes.get((column.group.form, column.group.test), "")
                for figure in same:
                    found.append(
                        Beside(
                            table.title,
                            row.title,
                            f"{table.group_title(column.group)} {column.title}",
                            (row.name, column.group.key, column.metric),
                            shown(cell.value, column.declared, decimals),
                            figure,
                            tuple(_differences(figure, ours)),
                        )
                    )
    return found


def _differences(figure: Figure, ours: Mapping[str, str]) -> list[str]:
    """What differs, in words."""
    different = []
    for name, title in SETTING.items():
        theirs = _theirs(figure, name)
        if theirs != ours[name]:
            what = "ρ" if name == "task" and _has_rho(figure.method) else title
            different.append(f"{what}: {theirs or 'not stated'}, ours {ours[name] or 'none'}")
    return different + [f"{what} {ours[name]}" for name, what in UNLIKE.items() if ours.get(name)]


def _theirs(figure: Figure, name: str) -> str:
    """A column of the figure's setting, inputs with the rate that they were played at."""
    value = str(getattr(figure, name))
    rate, datasets = PLAYED.get(figure.source.partition(",")[0], (None, frozenset[str]()))
    if value and rate is not None and name in INPUTS and getattr(figure, INPUTS[name]) in datasets:
        return _played(value, rate)
    return value


def _played(said: str, rate: float | str) -> str:
    """An input with its rate, which the files' own is not, nor that of frames that cover."""
    if isinstance(rate, str) or "cover" in said:
        return said
    return f"{said} at {rate:g} frames a second"


# ------------------------------------------------------------------ our setting


def kind(params: Mapping[str, Any]) -> str:
    """A backbone of ``params.yaml`` as ``published.csv`` writes it: name, depth or blocks, width.

    ``params`` are leaves by their dotted keys.
    """
    parts = [_value(params, "backbone.*.name")]
    parts += [_value(params, "backbone.*.depth"), _value(params, "backbone.*.blocks")]
    width = _value(params, "backbone.*.width")
    parts += [f"width {width}" if width not in ("", str(STANDARD_WIDTH)) else ""]
    return " ".join(part for part in parts if part)


def _setting(
    row: Row,
    params: Mapping[str, Any],
    data: Mapping[str, str],
    stored: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """How a row came to its weights."""
    ours = dict.fromkeys(SETTING, "") | {"backbone": kind(params)}
    if row.pretrained:
        named = _value(params, "methods.*.data")
        # all sources that divide a dataset several times pretrain on its first training part
        split = _value(params, "pretrain.*.split")
        other = f" split {split}" if split not in ("", "1") else ""
        clip = {name: _value(params, f"pretrain.*.clip.{name}") for name in CLIP}
        ours |= {
            "task": _value(params, "task.*" if _has_rho(row.method) else "task.*.target"),
            "pretraining_data": data.get(named, named) + other,
            "epochs": _value(params, "pretrain.*.epochs"),
            "pretraining_input": _clip(clip, stored.get(named, {})),
        }
    return ours


def _has_rho(method: str) -> bool:
    return method.startswith("rho_")


def _tested(group: Group, params: AggregateParams, stored: Mapping[str, Any]) -> dict[str, str]:
    """How a group's columns came about."""
    spec = params.finetune[group.test] if group.form == "finetune" else params.probe[group.test]
    clip = {name: str(getattr(spec.clip, name)) for name in CLIP}
    if getattr(spec, "sampling", "window") == "cover":  # a probe's clips are windows
        clip["stride"] = "cover"
    labelled = getattr(spec, "share", 1.0)  # a probe is given all labels
    aside = getattr(spec, "validation", 0.0)  # no source says that it keeps videos aside
    share = f"{100 * labelled:g} %" + (f", {100 * aside:g} % of them to choose by" if aside else "")
    share = "" if labelled == 1.0 and not aside else share
    splits = ",".join(map(str, group.splits))
    return {"test_input": _clip(clip, stored), "splits": splits, "share": share}


def _clip(parts: Mapping[str, str], stored: Mapping[str, Any]) -> str:
    """Frames x stride x size, with what ``decode`` made of the files before: rate and size."""
    if not all(parts.values()):
        return ""
    said = _played("x".join(parts[name] for name in CLIP), stored.get("decode.fps", "native"))
    side = stored.get("decode.short_side")
    if side is not None and side < int(parts["size"]):
        said += f" of frames of {side} pixels"
    return said


def _dataset(entry: Any, manifest: Mapping[str, Any] | None) -> str:
    """A dataset as ``published.csv`` names it: its format; of Kinetics, with how many classes."""
    classes = len(manifest.get("classes") or ()) if manifest else 0
    return f"kinetics{classes}" if entry.format == "kinetics" else str(entry.format)


def _gone(name: str, manifest: Mapping[str, Any]) -> str:
    """Which videos of a dataset are not there, in words: absent files and those that are broken."""
    absent = int(manifest.get("absent", 0)) + len(manifest["rejects"])
    return f"{absent:,} of {absent + len(manifest['videos']):,} of {name}" if absent else ""


def _boxes(selected: Folder) -> str:
    """Whether a test's boxes are the true ones; empty where they are not, or there are none."""
    facts = selected.json(FACTS).get("facts", {})
    return "" if facts.get("detector", True) else "the true ones"


def _value(params: Mapping[str, Any], key: str) -> str:
    """The leaf at a dotted key, where ``*`` is any one name; empty if there is none."""
    pattern = re.compile(re.escape(key).replace(r"\*", "[^.]+"))
    for name, value in params.items():
        if pattern.fullmatch(name):
            return "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return ""


# ------------------------------------------------------------------ for a reader


def marks(found: Iterable[Beside]) -> dict[tuple[str, tuple[str, str, str], str], list[Figure]]:
    """Place of a cell -> the figures whose setting is the same."""
    marked: dict[tuple[str, tuple[str, str, str], str], list[Figure]] = {}
    for one in found:
        if not one.differs:
            marked.setdefault(one.place, []).append(one.figure)
    return marked


@dataclass(frozen=True)
class Line:
    """What one source published of the very setting of a row: a line of a table of ours.

    Attributes:
        values: key of the group and metric -> per cent, as the source writes it.
    """

    source: str
    values: Mapping[tuple[tuple[str, str, str], str], str]


def same(found: Iterable[Beside], table: str) -> dict[str, list[Line]]:
    """Name of a row of one of our tables -> its lines, where the setting is the same."""
    by_row: dict[str, dict[str, dict[tuple[tuple[str, str, str], str], list[str]]]] = {}
    for one in found:
        if one.table == table and not one.differs:
            row, group, metric = one.place
            values = by_row.setdefault(row, {}).setdefault(one.figure.source, {})
            values.setdefault((group, metric), []).append(one.figure.value)
    return {
        row: [
            Line(source, {place: ", ".join(texts) for place, texts in values.items()})
            for source, values in by_source.items()
        ]
        for row, by_source in by_row.items()
    }


def frame(found: Iterable[Beside]) -> pd.DataFrame:
    """Every published figure of a method and test of ours, a line each; both in per cent."""
    table = [
        (
            *(one.place[0], *one.place[1], one.place[2], one.ours, one.figure.value),
            *("; ".join(one.differs), one.figure.source),
        )
        for one in found
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def lines(found: Iterable[Beside], table: str) -> list[tuple[str, str, str, str, str, str]]:
    """Row, number, published, ours, what differs and source, of one of our tables."""
    return [
        (
            one.row,
            one.column,
            one.figure.value,
            one.ours,
            "; ".join(one.differs) or "the same setting",
            one.figure.source,
        )
        for one in found
        if one.table == table
    ]
