"""``videossl doctor --study``: how many clips a study trains on, for how long, on how much disk.

Before anything is decoded. Videos are counted by their datasets' lists, and where a dataset is not
there yet, by its official size. All of it is rough: disk within a third, as JPEG sizes differ from
video to video; hours as good as the speed that is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np
import torch

from videossl import uses
from videossl.data.builtin import labels
from videossl.data.datasets import check
from videossl.data.datasets.files import expand
from videossl.data.datasets.index import Index
from videossl.data.decoding.headers import Header
from videossl.downstream.kinds import moments
from videossl.job import UserError
from videossl.models import weights
from videossl.study import schema
from videossl.study.consistency import MOMENTS
from videossl.study.registry import LABELS, METHODS

BITS = 2.8  # of a pixel of a JPEG of quality 90 and short side 128; docs/performance.md
ASPECT = 4 / 3
LONG = 10_000  # frames of a video that is long enough for every method
FORWARD = 1 / 3  # what a clip costs that is not trained on
HOUR = 3600.0

Place = tuple[str, str]  # split and part


@dataclass(frozen=True)
class Size:
    """How large a dataset is.

    Attributes:
        counts: (split, part) -> videos.
        videos: all of them.
        frames: of a video, on average; 0 where nobody knows.
        seconds: of a video, on average.
        origin: where the numbers are from, for a reader.
        moments: by kind of labels whose examples are moments of videos, as ``counts``.
    """

    counts: Mapping[Place, int]
    videos: int
    frames: float
    seconds: float
    origin: str
    moments: Mapping[str, Mapping[Place, int]] = field(default_factory=dict)

    def examples(self, kind: str) -> int:
        """How many examples a kind of labels has, whatever their parts."""
        if kind not in self.moments:
            return self.videos
        splits: Counter[str] = Counter()
        for (split, _), count in self.moments[kind].items():
            splits[split] += count
        return max(splits.values())


def _official(
    train: int, test: int, videos: int, frames: float, seconds: float, splits: str = "1"
) -> Size:
    counts = {(s, part): n for s in splits for part, n in (("train", train), ("test", test))}
    return Size(counts, videos, frames, seconds, "official size; the root is not there")


# Videos as their lists have them; lengths are averages.
OFFICIAL = {
    "kinetics": _official(239_975, 19_761, 259_736, 280, 10),  # Kinetics-400
    "ucf101": _official(9_537, 3_783, 13_320, 186, 7.2, "123"),
    "hmdb51": _official(3_570, 1_530, 6_766, 94, 3.1, "123"),
    "ssv2": _official(168_913, 24_777, 193_690, 46, 3.8),
    "charades": _official(7_985, 1_863, 9_848, 720, 30),
}


@dataclass
class Work:
    """What one row, or all rows of one test, compute.

    ``trained`` and ``seen`` count clips with and without gradients; ``pixels`` is of one clip, over
    those of the reference clip.
    """

    name: str
    pixels: float
    trained: int = 0
    seen: int = 0
    missing: str = field(default="")

    def hours(self, rate: float) -> float:
        """GPU hours at ``rate`` reference clips a second that are trained on."""
        return self.pixels * (self.trained + FORWARD * self.seen) / rate / HOUR


def size_of(params: schema.Params, name: str) -> Size | None:
    """The size of ``data.<name>``; None where nothing tells it.

    Raises:
        UserError: its lists are bad.
    """
    data = params.data[name]
    if isinstance(data, schema.SyntheticData):
        test = data.videos_per_class // 3
        counts = {"train": 12 * (data.videos_per_class - test), "test": 12 * test}
        parts = {(str(split), part): n for split in (1, 2, 3) for part, n in counts.items()}
        seconds = data.frames / data.fps
        each = len(labels.moments(data))
        own = {kind: {place: each * n for place, n in parts.items()} for kind in MOMENTS}
        total = sum(counts.values())
        return Size(parts, total, data.frames, seconds, "the built-in dataset", own)
    if not expand(data.root).exists():
        return OFFICIAL.get(data.format)
    index = check.read(data)
    headers = [h for _, h in uses.headers(index) if isinstance(h, Header) and h.frames]
    return Size(
        Counter(place for entry in index.entries for place in entry.splits.items()),
        len(index.entries),
        float(np.mean([h.frames for h in headers])) if headers else 0.0,
        float(np.mean([h.seconds for h in headers])) if headers else 0.0,
        f"listed; {len(headers)} headers read",
        _moments(index),
    )


def _moments(index: Index) -> dict[str, Counter[Place]]:
    found: dict[str, Counter[Place]] = {}
    for entry in index.entries:
        for kind, count in moments.counts(entry.annotations or {}).items():
            for place in entry.splits.items():
                found.setdefault(kind, Counter())[place] += count
    return found


def gigabytes(decode: schema.Decode, size: Size) -> float:
    """Of the shards of a dataset, about."""
    rate = decode.fps
    frames = size.frames if rate == "native" else size.seconds * rate
    pixels = decode.short_side**2 * ASPECT
    bits = BITS * (decode.short_side / 128) ** -0.62 * 1.055 ** (decode.quality - 90)
    return size.videos * frames * pixels * (24 if decode.codec == "raw" else bits) / 8e9


def clips_per_video(params: schema.Params, row: str) -> int:
    """How many clips of a video one step of a row's method takes."""
    spec = params.methods[row]
    clip = params.pretrain[spec.pretrain].clip
    with torch.device("meta"):  # it never runs
        encoder = weights.build(params.backbone[spec.backbone])
    build = import_module(METHODS[spec.method]).build
    method = build(spec, params.task[spec.task], clip, encoder)
    return len(method.requests(np.random.default_rng(0), LONG))


def work(params: schema.Params, sizes: Mapping[str, Size | None]) -> Iterator[Work]:
    """All trainings and tests of a study, over its seeds and splits."""
    seeds = len(params.seeds)
    rows = len(params.methods) + len(params.baselines)
    reference = _reference(params)

    def begin(name: str, clip: schema.Clip, data: str) -> tuple[Work, Size | None]:
        size = sizes[data]
        found = Work(name, _pixels(clip) / _pixels(reference))
        found.missing = "" if size else f"data.{data} is not there"
        return found, size

    for row, spec in params.methods.items():
        budget = params.pretrain[spec.pretrain]
        found, size = begin(f"methods.{row}", budget.clip, spec.data)
        if size:
            videos = size.counts.get((str(budget.split), "train"), 0)
            if not any(part == "train" for _, part in size.counts):
                videos = size.videos
            whole = videos // budget.batch_size * budget.batch_size
            found.trained = seeds * budget.epochs * whole * clips_per_video(params, row)
        yield found
    for name, test in params.finetune.items():
        found, size = begin(f"finetune.{name}", test.clip, test.data)
        if size:
            kind = LABELS[params.data[test.data].format][test.labels]
            counts = size.moments.get(kind, size.counts)
            for split in map(str, test.splits):
                train = math.ceil(test.share * counts.get((split, "train"), 0))
                tested = counts.get((split, "test"), 0)
                found.trained += rows * seeds * test.epochs * train
                views = test.test.clips * test.test.crops
                found.seen += rows * seeds * tested * views
        yield found
    for name, probe in params.probe.items():
        if probe.run:
            found, size = begin(f"probe.{name}", probe.clip, probe.data)
            if size:
                kind = LABELS[params.data[probe.data].format][probe.labels]
                found.seen = rows * seeds * size.examples(kind) * probe.features.clips
            yield found


def _reference(params: schema.Params) -> schema.Clip:
    """The clip that speeds are of: the first row's, else that of the first test."""
    for spec in params.methods.values():
        return params.pretrain[spec.pretrain].clip
    clips = [test.clip for test in params.finetune.values()]
    clips += [test.clip for test in params.probe.values()]
    if clips:
        return clips[0]
    raise UserError("params.yaml: no row is pretrained and nothing is tested: nothing to estimate")


def _pixels(clip: schema.Clip) -> int:
    return clip.frames * clip.size**2


def report(params: schema.Params, rate: float | None) -> Iterator[str]:
    """Lines on the datasets and their disk, then on clips and, at ``rate``, GPU hours.

    ``rate``: clips a second that one GPU trains on, of the shape that the first row pretrains with;
    ``videossl doctor`` measures it. Clips of other shapes count by their pixels.

    Raises:
        UserError: a dataset's lists are bad, or the study computes nothing.
    """
    reference = _reference(params)
    sizes = {name: size_of(params, name) for name in params.data}
    disk = 0.0
    for name, size in sizes.items():
        if size is None:
            yield f"data.{name}: not there, and its official size is not known here"
            continue
        shards = gigabytes(params.decode, size)
        disk += shards
        length = f" of about {size.frames:.0f} frames" if size.frames else ""
        yield f"data.{name}: {size.videos:,} videos{length} ({size.origin}): {shards:,.1f} GB"
    for name, motion in params.motion.items():
        size = sizes[motion.data]
        if size and any(row.motion == name for row in params.methods.values()):
            planes = 2 if motion.content == "flow" else 1
            stored = params.decode.model_copy(
                update={"codec": motion.codec, "quality": motion.quality}
            )
            shards = planes * gigabytes(stored, size) / 2  # one channel, of a smooth image
            disk += shards
            yield f"motion.{name}: {shards:,.1f} GB"
    yield f"disk: about {disk:,.0f} GB"
    shape = f"{reference.frames} x {reference.size} x {reference.size}"
    yield f"clips, and hours of one GPU at {rate:g} clips/s of {shape}:" if rate else "clips:"
    total = 0.0
    for one in work(params, sizes):
        if one.missing:
            yield f"  {one.name}: {one.missing}"
            continue
        hours = one.hours(rate) if rate else 0.0
        total += hours
        shown = f", {hours:,.1f} h" if rate else ""
        yield f"  {one.name}: {one.trained:,} trained on, {one.seen:,} seen{shown}"
    if rate:
        yield f"all: {total:,.0f} GPU hours"
