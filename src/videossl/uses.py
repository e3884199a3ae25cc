"""What a study asks of a dataset, held against its lists: the stages would refuse it later.

``videossl check`` says so before anything is decoded. What only decoding can tell (how many frames
a damaged file gives, which videos are rejected) is left to the stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from videossl.data.datasets.index import UNLABELLED, Index
from videossl.data.datasets.prepare import size_of
from videossl.data.decoding import isolate, locate
from videossl.data.decoding.headers import Header, read_header
from videossl.study import schema
from videossl.study.consistency import UNDIVIDED
from videossl.study.registry import LABELS

OPENED = 24  # videos, spread over the list, whose headers are read
HEADER_SECONDS = 20.0


def problems(params: schema.Params, name: str, index: Index) -> list[str]:
    """A line for each row and test that the listed videos of ``data.<name>`` cannot serve."""
    counts = Counter(place for entry in index.entries for place in entry.splits.items())
    sizes = [size_of(index.root / entry.name) for entry in index.entries]
    lines = [] if any(sizes) else [f"data.{name}: none of {len(sizes)} videos can be stored"]
    for row, spec in params.methods.items():
        if spec.data == name:
            lines += _pretraining(params, row, spec, counts)
    for form, tests in (("finetune", params.finetune), ("probe", params.probe)):
        for test, block in tests.items():
            if block.data == name:
                lines += _test(f"{form}.{test}", block, params.data[name], index, counts)
    return lines


Counts = Counter[tuple[str, str]]  # (split, part) -> videos


def _pretraining(
    params: schema.Params, row: str, spec: schema.MethodBlock, counts: Counts
) -> Iterator[str]:
    """As ``train.pretrain.training_videos`` chooses them."""
    budget = params.pretrain[spec.pretrain]
    undivided = {part for _, part in counts} <= {"all"}
    found = sum(counts.values()) if undivided else counts[str(budget.split), "train"]
    holder = f"methods.{row}: pretrain.{spec.pretrain}"
    if not found:
        yield (
            f"{holder}.split = {budget.split}: no training video in split {budget.split} of "
            f"data.{spec.data}; there are: {_shown(counts)}"
        )
    elif found < budget.batch_size:
        yield (
            f"{holder}.batch_size = {budget.batch_size}: data.{spec.data} has only {found} "
            f"training videos in split {budget.split}"
        )


def _test(
    key: str,
    test: schema.Finetune | schema.Probe,
    data: schema.FolderData | schema.SyntheticData,
    index: Index,
    counts: Counts,
) -> Iterator[str]:
    kind = LABELS[data.format][test.labels]
    parts = ("all",) if kind in UNDIVIDED else ("train", "test")
    for split in test.splits:
        absent = [part for part in parts if not counts[str(split), part]]
        if absent:
            yield (
                f"{key}.splits: no video of data.{test.data} in split {split} {absent[0]}; "
                f"there are: {_shown(counts)}"
            )
        elif kind == "class":
            yield from _classes(key, test, split, index)


def _classes(
    key: str, test: schema.Finetune | schema.Probe, split: int, index: Index
) -> Iterator[str]:
    """What recognition of a video's class needs of the classes and of the gallery."""
    labels = [
        entry.label
        for entry in index.entries
        if entry.splits.get(str(split)) == "train" and entry.label != UNLABELLED
    ]
    if isinstance(test, schema.Probe):
        if test.linear is not None and len(set(labels)) < 2:
            yield f"{key}.linear: split {split} trains on fewer than two classes"
        if test.retrieval is not None and max(test.retrieval.topk) > len(labels):
            yield (
                f"{key}.retrieval.topk = {test.retrieval.topk}: must be at most the "
                f"{len(labels)} training videos of split {split}"
            )
    elif test.test.topk is not None and max(test.test.topk) > len(index.classes):
        yield (
            f"{key}.test.topk = {test.test.topk}: must be at most the {len(index.classes)} classes"
        )


def _shown(counts: Counts) -> str:
    return ", ".join(f"{s} {p} ({counts[s, p]})" for s, p in sorted(counts)) or "none"


# -------------------------------------------------------------------------------------- lengths


def lengths(params: schema.Params, name: str, index: Index) -> list[str]:
    """What the headers of a few videos say: frames, what is not there, and who needs more.

    Headers may be wrong, so this is a hint.
    """
    read = headers(index)
    bad = [f"{video}: {one.reason}" for video, one in read if isinstance(one, isolate.Failure)]
    rate = params.decode.fps
    frames = sorted(
        round(header.seconds * rate) if isinstance(rate, float) else header.frames
        for _, header in read
        if isinstance(header, Header) and header.frames
    )
    lines = []
    if bad:
        lines.append(f"cannot be stored: {len(bad)} of {len(read)} tried; first: {bad[0]}")
    if short := _short(index, read):
        lines.append(
            f"end within their annotations: {len(short)} of {len(read)}; first: {short[0]}"
        )
    if frames:
        lines.append(
            f"frames of {len(frames)} videos by their headers: {frames[0]} to {frames[-1]}"
        )
        lines += _longer(params, name, frames)
    return lines


def headers(index: Index) -> list[tuple[str, Header | isolate.Failure]]:
    """The headers of a few videos, spread over the list, each read in a child process.

    Of those that are stored in a part only, the length is that part's.
    """
    names = [entry.name for entry in index.entries if size_of(index.root / entry.name)]
    chosen = names[:: -(-len(names) // OPENED) or 1]
    read = partial(header_of, index.root, index.spans)
    found = isolate.ordered(read, chosen, children=1, deadline=lambda _: HEADER_SECONDS)
    return list(zip(chosen, found, strict=True))


def header_of(
    root: Path, spans: Mapping[str, tuple[float, float]], name: str, attempt: int
) -> Header:
    """The header of one video; runs in a child process.

    Raises:
        isolate.Refused: ``decode`` would reject it.
    """
    try:
        header = read_header(locate.locate(root, name))
    except locate.Unreadable as error:
        raise isolate.Refused(str(error)) from None
    if name not in spans or not header.seconds:
        return header
    begin, end = spans[name]
    seconds = min(end, header.seconds) - begin
    if seconds <= 0:
        where = f"its annotations are of seconds {begin:g} to {end:g}"
        raise isolate.Refused(f"it ends after {header.seconds:.1f} s by its header; {where}")
    return Header(round(header.frames * seconds / header.seconds), seconds)


def _short(index: Index, read: Sequence[tuple[str, Header | isolate.Failure]]) -> list[str]:
    """The videos that end, by their headers, before what is to be stored of them does."""
    spans = index.spans
    return [
        f"{name}: after {begin + header.seconds:.1f} s, where {end:g} are expected"
        for name, header in read
        if isinstance(header, Header) and name in spans
        for begin, end in (spans[name],)
        if 0 < header.seconds < end - begin
    ]


def _longer(params: schema.Params, name: str, frames: Sequence[int]) -> Iterator[str]:
    """Who needs more frames than the longest of these videos has."""
    if frames[-1] < params.decode.min_frames:
        yield f"  decode.min_frames = {params.decode.min_frames} is more: all would be rejected"
    for row, spec in params.methods.items():
        if spec.data == name:
            clip = params.pretrain[spec.pretrain].clip
            reach = spec.needs.reach(spec, params.task[spec.task], clip)
            if reach.frames > frames[-1]:
                yield f"  methods.{row} needs {reach.frames} frames of a video, for {reach.key}"
