"""The parts of the page that account for the study: durations, data, definitions, parameters.

Each function gives the page's template what it shows, as text; the template escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from videossl.downstream import declarations
from videossl.report.inputs import Folder
from videossl.report.layout import Row
from videossl.report.wording import DASH, counted, duration

REJECTS_SHOWN = 50

STAGE_COLUMNS = {
    "decode": "decode",
    "initialize": "pretrain",
    "pretrain": "pretrain",
    "embed": "embed",
    "finetune": "fine-tune",
    "test": "test",
    "evaluate": "evaluate",
}

DEFINITIONS = {
    "Number": "A number is the mean over seeds of the mean over splits; ± is the standard "
    "deviation over seeds of the means over splits.",
    "Gain": "A gain is the difference to the value of the first baseline with the same backbone; "
    "of shares, in percentage points.",
    "Interval": "Intervals of shares are Wilson's 95 % score intervals for the number of distinct "
    "test examples, taken as independent; seeds do not narrow them.",
}


def durations(folders: Sequence[Folder], rows: Sequence[Row]) -> dict[str, Any]:
    """Seconds of every stage that the report reads: rows of the study by kind of stage."""
    titles = {row.name: row.title for row in rows}
    spent: dict[str, dict[str, float]] = {}
    for folder in folders:
        key = folder.key
        name = titles[key["row"]] if "row" in key else f"{key['dataset']} (data)"
        times = spent.setdefault(name, {})
        kind = STAGE_COLUMNS[folder.stage]
        times[kind] = times.get(kind, 0.0) + folder.record["seconds"]
    kinds = list(dict.fromkeys(STAGE_COLUMNS.values()))
    kinds = [kind for kind in kinds if any(kind in times for times in spent.values())]
    totals = {kind: sum(times.get(kind, 0.0) for times in spent.values()) for kind in kinds}
    return {
        "heads": ["Stage of", *kinds, "total"],
        "rows": [_cost(name, times, kinds) for name, times in spent.items()],
        "total": _cost("total", totals, kinds),
    }


def _cost(name: str, times: Mapping[str, float], kinds: Sequence[str]) -> list[str]:
    each = [duration(times[kind]) if kind in times else DASH for kind in kinds]
    return [name, *each, duration(sum(times.values()))]


def data(name: str, manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was decoded of one dataset, and which files were not and why."""
    if manifest is None:
        return {"name": name, "text": None}
    videos, rejects = manifest["videos"], manifest["rejects"]
    classes = [str(one) for one in manifest.get("classes") or ()]
    text = counted(len(videos), "video")
    if classes:
        text += f" in {counted(len(classes), 'class')}"
    if videos:
        frames = sorted(video["frames"] for video in videos)
        if frames[0] == frames[-1]:
            text += f", {frames[0]:,} frames long"
        else:
            text += f", {frames[0]:,} to {frames[-1]:,} frames long (median {median(frames):,g})"
    more = len(rejects) - REJECTS_SHOWN
    return {
        "name": name,
        "text": f"{text}. {_rejected(len(rejects))}",
        "classes": ", ".join(classes),
        "rejects": [
            {"name": one["name"], "reason": one["reason"]} for one in rejects[:REJECTS_SHOWN]
        ],
        "more": f"{more:,}" if more > 0 else "",
    }


def _rejected(count: int) -> str:
    if not count:
        return "No file was rejected."
    return f"{counted(count, 'file')} {'was' if count == 1 else 'were'} rejected and not replaced."


def definitions(protocols: Iterable[str], rules: Iterable[str]) -> list[tuple[str, str]]:
    """How the numbers of the shown protocols come about, and by which rules the best is told."""
    declared = [declarations.protocol(name) for name in dict.fromkeys(protocols)]
    terms = [(one.title, one.definition) for one in declared]
    terms += DEFINITIONS.items()
    best = " ".join(dict.fromkeys(rules))
    return [*terms, ("Best", best)] if best else terms


def parameters(folders: Sequence[Folder]) -> list[dict[str, Any]]:
    """Every parameter that a stage of the study was given, block by block."""
    merged: dict[str, Any] = {}
    for folder in folders:
        merged |= folder.record["params"]  # that they agree was checked before
    blocks: dict[str, list[tuple[str, str]]] = {}
    for key, value in sorted(merged.items()):
        block, _, rest = key.partition(".")
        blocks.setdefault(block, []).append((rest or block, _text(value)))
    return [{"title": title, "lines": lines} for title, lines in blocks.items()]


def versions(folders: Sequence[Folder]) -> list[tuple[str, str]]:
    """The software's versions; one that differs is shown with the stages that had it."""
    found: dict[str, dict[str, list[str]]] = {}
    for folder in folders:
        stage = " ".join([folder.stage, *folder.key.values()])
        for name, value in folder.record["versions"].items():
            found.setdefault(name, {}).setdefault(_text(value), []).append(stage)
    return [(name, _by_stage(values)) for name, values in sorted(found.items())]


def _by_stage(values: Mapping[str, Sequence[str]]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({_some(stages)})" for value, stages in values.items())


def _some(stages: Sequence[str]) -> str:
    first = ", ".join(stages[:2])
    return first if len(stages) <= 2 else f"{first} and {len(stages) - 2} more"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: DASH}[value]
    return str(value)
