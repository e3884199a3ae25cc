"""The parts of the page that account for the study: durations, data, definitions, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from videossl.report.tables import DASH, method_name, protocol_name

REJECTS_SHOWN = 50

DEFINITIONS = {
    "recognition": "The whole network is fine-tuned on the labelled training videos. Each test "
    "video's class scores are averaged over several clips at fixed places; top-k is the share of "
    "test videos whose class is among the k highest scores.",
    "linear": "A logistic regression is fitted to the training videos' features; the encoder stays "
    "as pretraining left it. Top-k is counted as for recognition.",
    "knn": "Nothing is trained: the nearest training videos by cosine similarity of the frozen "
    "features vote for their class, closer ones with more weight. Top-k is counted over the votes.",
    "retrieval": "Each test video is a query to the training videos, ranked by cosine similarity "
    "of the frozen features. R@k is the share of queries with a video of their own class among "
    "the first k.",
}

STAGE_COLUMNS = {
    "decode": "decode",
    "initialize": "pretrain",
    "pretrain": "pretrain",
    "finetune": "fine-tune",
    "evaluate": "evaluate",
}


# ------------------------------------------------------------------ durations and data


def duration(seconds: float) -> str:
    """Seconds for a reader: ``4.2 s``, ``1 min 33 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def durations(records: Sequence[Mapping[str, Any]]) -> str:
    """Seconds of every stage that the report reads: rows of the study by kind of stage."""
    spent: dict[str, dict[str, float]] = {}
    for record in records:
        who, stage = record["who"], STAGE_COLUMNS[record["stage"]]
        row = next((who[k] for k in ("method", "encoder", "baseline") if k in who), None)
        name = method_name(row) if row else f"{who['dataset']} (data)"
        times = spent.setdefault(name, {})
        times[stage] = times.get(stage, 0.0) + record["seconds"]
    if not spent:
        return '<p class="none">No stage has finished yet.</p>'
    kinds = list(dict.fromkeys(STAGE_COLUMNS.values()))
    kinds = [kind for kind in kinds if any(kind in times for times in spent.values())]
    lines = [_cost_row(name, times, kinds) for name, times in spent.items()]
    totals = {kind: sum(times.get(kind, 0.0) for times in spent.values()) for kind in kinds}
    heads = "".join(f'<th scope="col">{kind}</th>' for kind in [*kinds, "total"])
    note = "Wall time of the stages that this report reads, each as it ran; several may have run "
    note += "side by side. Embedding and the writing of built-in videos are not among them."
    return (
        '<div class="scroll" role="region" aria-label="Durations" tabindex="0">\n'
        f'<table class="wide durations">\n<caption class="unseen">Durations</caption>\n'
        f'<thead><tr><th scope="col">Stage of</th>{heads}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(lines)}\n</tbody>\n"
        f"<tfoot>{_cost_row('total', totals, kinds)}</tfoot>\n</table>\n</div>\n"
        f'<p class="note">{note}</p>'
    )


def _cost_row(name: str, times: Mapping[str, float], kinds: Sequence[str]) -> str:
    shown = [duration(times[kind]) if kind in times else DASH for kind in kinds]
    shown.append(duration(sum(times.values())))
    cells = "".join(f"<td>{text}</td>" for text in shown)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def data(dataset: str, manifest: Mapping[str, Any] | None) -> str:
    """What was decoded of one dataset, and which files were not and why."""
    title = f"<h3>{escape(dataset)}</h3>\n"
    if manifest is None:
        return f'{title}<p class="none">Not decoded yet.</p>'
    videos, rejects = manifest["videos"], manifest["rejects"]
    classes = [str(name) for name in manifest["classes"]]
    text = f"{counted(len(videos), 'video')} in {counted(len(classes), 'class')}"
    if videos:
        frames = sorted(video["frames"] for video in videos)
        text += f", {frames[0]:,} to {frames[-1]:,} frames long (median {median(frames):,g})"
    names = (
        f"<details><summary>Names of the classes</summary>\n<p>{escape(', '.join(classes))}</p>\n"
        "</details>\n"
    )
    return f"{title}<p>{text}. {_rejected(rejects)}</p>\n{names}{_reject_table(rejects)}"


def _rejected(rejects: Sequence[Mapping[str, Any]]) -> str:
    if not rejects:
        return "No file was rejected."
    were = "was" if len(rejects) == 1 else "were"
    return f"{counted(len(rejects), 'file')} {were} rejected and not replaced."


def _reject_table(rejects: Sequence[Mapping[str, Any]]) -> str:
    if not rejects:
        return ""
    lines = [
        f"<tr><td><code>{escape(str(one['name']))}</code></td><td>{escape(str(one['reason']))}</td></tr>"
        for one in rejects[:REJECTS_SHOWN]
    ]
    more = len(rejects) - REJECTS_SHOWN
    rest = f'<p class="note">and {more:,} more, listed in the manifest</p>' if more > 0 else ""
    return (
        '<details open><summary>Rejected files</summary>\n<div class="scroll">\n'
        '<table class="wide rejects"><thead><tr><th scope="col">File</th>'
        f'<th scope="col">Reason</th></tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>'
        f"</table>\n</div>\n{rest}</details>"
    )


def counted(count: int, noun: str) -> str:
    """``1 video``, ``1,200 videos``."""
    plural = {"class": "classes"}.get(noun, f"{noun}s")
    return f"{count:,} {noun if count == 1 else plural}"


# ------------------------------------------------------------------ definitions and parameters


def definitions(protocols: Iterable[str]) -> str:
    """How the numbers of the shown protocols come about."""
    terms = [
        f"<div><dt>{escape(protocol_name(name))}</dt><dd>{DEFINITIONS[name]}</dd></div>"
        for name in dict.fromkeys(protocols)
        if name in DEFINITIONS
    ]
    terms.append(
        "<div><dt>Gain and interval</dt><dd>A gain is the difference to the baseline's value in "
        "percentage points. Intervals are Wilson's 95 % score intervals for a share of n "
        "independent test videos.</dd></div>"
    )
    return f"<dl>{''.join(terms)}</dl>"


def parameters(records: Sequence[Mapping[str, Any]]) -> str:
    """Every parameter and every version that a stage of the study was given, block by block."""
    blocks: dict[str, list[str]] = {"study": []}  # keys outside any block come first
    for key, found in sorted(values(records, "params").items()):
        block, _, rest = key.partition(".")
        title, name = (block, rest) if rest else ("study", key)
        blocks.setdefault(title, []).append(_pair(name, found))
    sections = [
        f'<section><h3>{escape(title)}</h3><table class="plain">{"".join(lines)}</table></section>'
        for title, lines in blocks.items()
        if lines
    ]
    versions = [_pair(name, values) for name, values in sorted(values(records, "versions").items())]
    return (
        "<details><summary>Every parameter that the stages were given</summary>\n"
        f'<div class="blocks">{"".join(sections)}</div></details>\n'
        "<details><summary>Versions of the software</summary>\n"
        f'<table class="plain">{"".join(versions)}</table></details>'
    )


def _pair(name: str, found: Mapping[str, Sequence[str]]) -> str:
    """One line; a value that differs between stages is shown with the stages that had it."""
    if len(found) == 1:
        shown = next(iter(found))
    else:
        shown = "; ".join(f"{value} ({_some(who)})" for value, who in found.items())
    breakable = re.sub(r"([._])", r"\1<wbr>", escape(name))
    return f'<tr><th scope="row">{breakable}</th><td>{escape(shown)}</td></tr>'


def _some(who: Sequence[str]) -> str:
    shown = ", ".join(who[:2])
    return shown if len(who) <= 2 else f"{shown} and {len(who) - 2} more"


def values(records: Sequence[Mapping[str, Any]], field: str) -> dict[str, dict[str, list[str]]]:
    """Key -> value as text -> the stages that had it."""
    found: dict[str, dict[str, list[str]]] = {}
    for record in records:
        stage = " ".join([record["stage"], *record["who"].values()])
        for key, value in record[field].items():
            text = _value(value)
            found.setdefault(key, {}).setdefault(text, []).append(stage)
    return found


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: DASH}[value]
    return str(value)
