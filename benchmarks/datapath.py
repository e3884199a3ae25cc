"""Measure the data path beside what others do: reading clips, cold and warm, loading, decoding.

    python benchmarks/datapath.py --videos DIR --seconds 60 --out results.md   # each has a default

Videos are generated; those of ``--videos`` come besides: .avi counts as UCF101's, all else as
Kinetics'. What is compared is measured in turns within one run, and medians are shown. Temporary
files go where ``TMPDIR`` says: a disk, or no read is cold.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import harmonic_mean, median
from typing import Any

import av
import cv2
import datapath_rivals as rivals
import numpy as np
import torch
from datapath_rivals import Group, Reader
from torch.utils.data import DataLoader

from videossl.data.decoding import decode, isolate
from videossl.data.loading.loader import TrainBatches, batches
from videossl.data.loading.sampling import ClipRequest, random_start, window
from videossl.data.shards import builder
from videossl.data.shards.store import ClipStore
from videossl.study.schema import Augment, Decode

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "videos"
FRAMES, STRIDES = 16, (1, 2, 4, 8)
DATASETS = {"UCF101": (2.43e6, "2.43 M"), "Kinetics-400": (67e6, "67 M")}  # frames
OURS, DECORD, RESIZING = "ours, JPEG q90", "decord", "decord, resizing to 128"
LIMIT, POOLED = "limit: libjpeg-turbo", "all of these, as many clips of each"
CLIPS = 6  # per turn, spread evenly over the videos and over their length
LEAST = 0.05  # seconds a fast reader is measured for
DEADLINE = 600.0
BATCH, WARM, STEPS = 16, 4, 16  # videos per batch; batches before measuring, and measured
AUGMENT = {
    "crop_area": [0.3, 1.0],
    "crop_aspect": [0.75, 1.333],
    "flip": 0.5,
    "gray": 0.2,
    "jitter": dict.fromkeys(["probability", "brightness", "contrast", "saturation", "hue"], 0.4),
    "blur": {"probability": 0.5, "sigma": [0.1, 2.0]},
}
OPTIONS = Decode(
    backend="pyav",
    fps="native",
    short_side=128,
    codec="jpeg",
    quality=90,
    min_frames=(FRAMES - 1) * max(STRIDES) + 1,
    shard_megabytes=256,
)


Cases = dict[Hashable, Callable[[int], float]]


def in_turns(cases: Cases, seconds: float) -> dict[Hashable, float]:
    """The median of each case's results; a case is told which turn it is."""
    found: dict[Hashable, list[float]] = {key: [] for key in cases}
    end, turn = time.monotonic() + seconds, 0
    while turn == 0 or time.monotonic() < end:
        for key, case in cases.items():
            found[key].append(case(turn))
        turn += 1
    return {key: median(values) for key, values in found.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column to the left."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows]) + "\n"


# ------------------------------------------------------------------------------------ inputs


def store_videos(
    files: Sequence[Path], out: Path, options: Decode, children: int
) -> tuple[ClipStore, float]:
    """Run the stage's parts over ``files``; also frames per second once the children run."""
    build = builder.ShardBuilder(out / "building", options.shard_megabytes << 20)
    results = isolate.ordered(
        partial(decode.store_one, Path("/"), options),
        [path.absolute().relative_to("/").as_posix() for path in files],
        children=children,
        deadline=lambda _: DEADLINE,
    )
    frames, begin = 0, 0.0
    for number, (path, result) in enumerate(zip(files, results, strict=True)):
        if isinstance(result, isolate.Failure):
            sys.exit(f"{path.name}: {result.reason}")
        if number >= children:
            frames += result.facts["frames"]
        facts = {"name": f"{number}/{path.name}", "label": 0, "splits": {}}
        build.add(result.record, {**result.facts, **facts})
        if number == children - 1:  # importing what they need is no part of a long run
            begin = time.perf_counter()
    build.close()
    head = {"classes": ["any"], "codec": options.codec, "channels": 3}
    builder.publish(out, build.finished, [], head)
    return ClipStore(out), frames / (time.perf_counter() - begin)


# ------------------------------------------------------------------------------------ warm reads


def clips_of(
    group: Group, lengths: Sequence[int], stride: int, turn: int
) -> list[tuple[int, range]]:
    """The clips of one turn, spread over the videos; other places in every turn."""
    numbers, span = group.numbers, (FRAMES - 1) * stride + 1
    clips = []
    for k in range(CLIPS):
        video = numbers[(turn + k) % len(numbers)]
        place = (k / CLIPS + 0.618 * turn + 0.1 * k) % 1
        start = int(place * (lengths[video] - span + 1))
        clips.append((video, range(start, start + span, stride)))
    return clips


def rate(read: Reader, clips: Sequence[tuple[int, range]]) -> float:
    """Clips per second; all clips are read as often as each other."""
    read(*clips[-1])  # a video's table is read once per run, so it does not count
    count, begin, passed = 0, time.perf_counter(), 0.0
    while passed < LEAST:
        for video, frames in clips:
            read(video, frames)
        count += len(clips)
        passed = time.perf_counter() - begin
    return count / passed


def readers_of(groups: Sequence[Group], folder: Path) -> dict[str, Reader]:
    """Every layout, by its name in the table, filled with the same videos."""
    files = [path for group in groups for path in group.files]
    jpeg, _ = store_videos(files, folder / "jpeg", OPTIONS, 2)
    raw, _ = store_videos(files, folder / "raw", OPTIONS.model_copy(update={"codec": "raw"}), 2)
    return {
        OURS: rivals.Ours(jpeg),
        "ours, raw": rivals.Ours(raw),
        DECORD: rivals.Decord(files),
        RESIZING: rivals.Decord(files, OPTIONS.short_side),
        "PyAV, seek": rivals.PyAV(files),
        "JPEG files, PIL": rivals.Loose(jpeg, folder / "loose"),
        "LMDB value per video, PIL": rivals.WholeValue(jpeg, folder / "whole.lmdb"),
        LIMIT: rivals.InMemory(jpeg, raw=False),
        "limit: memcpy": rivals.InMemory(raw, raw=True),
    }


def warm(groups: Sequence[Group], readers: dict[str, Reader], seconds: float) -> str:
    """Clips per second and core out of the page cache, per group."""
    lengths = [video.frames for video in readers[OURS].store.videos]
    processed = {(name, True): rivals.cropped(read) for name, read in readers.items()}
    processed |= {(name, False): read for name, read in readers.items() if name != RESIZING}

    def case(read: Reader, group: Group, stride: int, turn: int) -> float:
        return rate(read, clips_of(group, lengths, stride, turn))

    cases = {
        (*key, group.title, stride): partial(case, read, group, stride)
        for group, stride, (key, read) in product(groups, STRIDES, processed.items())
    }
    found = in_turns(cases, seconds)
    titles = [group.title for group in groups]
    for key, stride in product(processed, STRIDES):
        found[*key, POOLED, stride] = harmonic_mean([found[*key, one, stride] for one in titles])
    text = ""
    for title in [*titles, POOLED]:
        rates = {key: [found[*key, title, stride] for stride in STRIDES] for key in processed}
        head = ["layout", *[f"stride {stride}" for stride in STRIDES], "x decord", "mean"]
        rows = [_warm_row(name, rates) for name in readers]
        text += f"\n{title}\n\n" + table([*head, "read only", "of libjpeg-turbo"], rows)
    return text


def _warm_row(name: str, rates: dict[tuple[str, bool], list[float]]) -> list[str]:
    ratios = np.divide(rates[name, True], rates[DECORD, True])
    row = [name, *[f"{value:.0f}" for value in rates[name, True]]]
    row += [" / ".join(f"{ratio:.1f}" for ratio in ratios), f"{np.mean(ratios):.1f}"]
    if (name, False) not in rates:
        return [*row, "", ""]
    share = np.mean(np.divide(rates[name, False], rates[LIMIT, False]))
    return [*row, f"{np.mean(rates[name, False]):.0f}", f"{100 * share:.0f} %"]


# ------------------------------------------------------------------------------------ cold reads


def cold(group: Group, folder: Path, seconds: float) -> str:
    """Cold reads: those that miss the page cache."""
    store, _ = store_videos(group.files * 4, folder / "cold", OPTIONS, 2)
    lengths = [video.frames for video in store.videos]
    whole = Group(group.title, group.dataset, group.files * 4, 0)
    measured: dict[Hashable, rivals.Cold] = {}
    for stride in STRIDES:
        clips = partial(clips_of, whole, lengths, stride)
        measured["ours", stride] = rivals.Cold(store, clips)
        measured["LMDB get", stride] = rivals.ColdValue(store, clips, readahead=False)
        measured["LMDB get, read-ahead", stride] = rivals.ColdValue(store, clips, readahead=True)
    found = in_turns({key: one.measure for key, one in measured.items()}, seconds)
    if any(min(one.read) == 0 for one in measured.values()):
        return "\nNot measured: this file system keeps the file in memory when told to drop it.\n"
    rows = []
    for name in dict.fromkeys(name for name, _ in measured):
        rates = [found[name, stride] for stride in STRIDES]
        kilobytes = [median(measured[name, stride].read) / 1e3 for stride in STRIDES]
        gains = [found["ours", s] / value for s, value in zip(STRIDES, rates, strict=True)]
        cells = [f"{r:.0f} ({k:.0f} KB)" for r, k in zip(rates, kilobytes, strict=True)]
        rows.append([name, *cells, " / ".join(f"{gain:.1f}" for gain in gains)])
    return "\n" + table(["reader", *[f"stride {s}" for s in STRIDES], "ours is x"], rows)


# ------------------------------------------------------------------------------------ loading


def _two_clips(rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
    starts = [random_start(rng, num_frames, FRAMES) for _ in range(2)]
    return [ClipRequest(window(num_frames, s, FRAMES, 1), view) for view, s in enumerate(starts)]


def _clips_per_second(stream: Iterable[Any]) -> float:
    """Of a source's batches, once the memory of all is in use."""
    batches = iter(stream)
    for _ in range(WARM):
        next(batches)
    begin = time.perf_counter()
    count = sum(1 for _ in batches)
    return 2 * BATCH * count / (time.perf_counter() - begin)


def _side_by_side(source: TrainBatches) -> float:
    """Two processes that each read in-process at the same time, together."""
    context = mp.get_context("fork")
    barrier, results = context.Barrier(2), context.SimpleQueue()

    def work() -> None:
        barrier.wait()
        results.put(_clips_per_second(batches(source)))

    processes = [context.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    total = sum(results.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def loading(store: ClipStore, videos: Sequence[int], seconds: float) -> str:
    """Batches of two clips per video and their draws, as a method gets them."""
    augment = Augment.model_validate(AUGMENT)
    source = TrainBatches(store, list(videos) * BATCH, _two_clips, augment, BATCH, 0)
    source = source.between(0, WARM + STEPS)
    cases: Cases = {"in process": lambda _: _clips_per_second(batches(source))}
    for n in (1, 2):
        cases["ours", n] = lambda _, n=n: _clips_per_second(batches(source, n))
        cases["torch", n] = lambda _, n=n: _clips_per_second(
            DataLoader(rivals.Rows(source), BATCH, num_workers=n, multiprocessing_context="fork")
        )
    cases["two"] = lambda _: _side_by_side(source)
    found = in_turns(cases, seconds)
    limits = {1: found["in process"], 2: found["two"]}
    rows = [["reading in process, no workers", *(f"{limits[n]:.0f}" for n in (1, 2))]]
    for name, title in (("ours", "our loader"), ("torch", "DataLoader, default collate")):
        cells = [f"{found[name, n]:.0f} ({100 * found[name, n] / limits[n]:.0f} %)" for n in (1, 2)]
        rows.append([title, *cells])
    return "\n" + table(["", "1 process", "2 processes"], rows)


# ------------------------------------------------------------------------------------ decoding


def _decode_only(files: Sequence[Path], turn: int) -> float:
    """Frames per second of PyAV that gives the frames away as they come."""
    frames, begin = 0, time.perf_counter()
    for path in files:
        with av.open(str(path), metadata_errors="ignore") as container:
            container.streams.video[0].codec_context.thread_count = 1
            frames += sum(1 for _ in container.decode(video=0))
    return frames / (time.perf_counter() - begin)


def _stage(
    files: Sequence[Path], folder: Path, backend: str, cores: Sequence[int], turn: int
) -> float:
    """Frames per second of the stage with one child per core, this process on the same cores."""
    free = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    options = OPTIONS.model_copy(update={"backend": backend})
    with tempfile.TemporaryDirectory(dir=folder) as out:
        speed = store_videos(files, Path(out), options, len(cores))[1]
    os.sched_setaffinity(0, free)
    return speed


def decoding(groups: Sequence[Group], folder: Path, seconds: float) -> str:
    """The stage's speed, and what a dataset takes; of real videos where there are any."""
    groups = list({group.dataset: group for group in groups}.values())
    cases: Cases = {}
    cores = sorted(os.sched_getaffinity(0))
    kinds = list(product(("pyav", "decord"), (1, 2)))
    for group in groups:
        cases[group.title, "only"] = partial(_decode_only, group.files)
        for backend, n in kinds:
            files = (group.files * 12)[: 4 + 4 * n]
            cases[group.title, backend, n] = partial(_stage, files, folder, backend, cores[-n:])
    found = in_turns(cases, seconds)
    speeds = [
        [group.title, f"{found[group.title, 'only']:.0f}"]
        + [f"{found[group.title, *kind]:.0f}" for kind in kinds]
        for group in groups
    ]
    heads = [f"{backend}, {n} core{'s' * (n > 1)}" for backend, n in kinds]
    text = "\n" + table(["frames/s", "decode only, PyAV", *heads], speeds)
    return text + "\n" + _whole_datasets(groups, ClipStore(folder / "jpeg"), found)


def _whole_datasets(groups: Sequence[Group], store: ClipStore, found: dict[Hashable, float]) -> str:
    rows = []
    for group in groups:
        frames = sum(store.videos[number].frames for number in group.numbers)
        source = sum(path.stat().st_size for path in group.files) / frames
        stored = sum(store._places[number].length for number in group.numbers) / frames
        total, shown = DATASETS[group.dataset]
        hours = [total / found[group.title, backend, 1] / 3600 for backend in ("pyav", "decord")]
        row = [group.title, f"{frames / len(group.files):.0f}", f"{source / 1e3:.2f}"]
        row += [f"{stored / 1e3:.2f}", f"{stored / source:.1f}", shown]
        row += [f"{stored * total / 1e9:.0f} GB", " / ".join(f"{hour:.2f}" for hour in hours)]
        rows.append(row)
    head = ["", "frames/video", "KB/frame, source", "KB/frame, stored", "stored/source"]
    return table([*head, "all frames", "all stored", "core-hours, pyav / decord"], rows)


# ------------------------------------------------------------------------------------ all


def machine() -> str:
    """What it ran on, in general terms."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {model or 'an unnamed processor'}, {memory:.0f} GiB of memory"
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--videos", type=Path, help="folder of real videos")
    parser.add_argument("--seconds", type=float, default=240, help="of measuring, about")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    parts = [f"{machine()}\n"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = args.videos or REAL
        groups = rivals.groups_of(folder, real, args.videos is not None, OPTIONS.min_frames)
        readers = readers_of(groups, folder)
        os.sched_setaffinity(0, {max(cores)})
        text = warm(groups, readers, 0.5 * args.seconds)
        parts.append(f"\n## Random clips out of the page cache, clips/s and core\n{text}")
        readers.clear()
        kinetics = groups[1]
        text = cold(kinetics, folder, 0.05 * args.seconds)
        parts.append(f"\n## Clips from disk, clips/s (read per clip)\n{text}")
        os.sched_setaffinity(0, cores)
        jpeg = ClipStore(folder / "jpeg")
        text = loading(jpeg, list(kinetics.numbers), 0.15 * args.seconds)
        parts.append(f"\n## Loading batches, clips/s\n{text}")
        text = decoding(groups, folder, 0.3 * args.seconds)
        parts.append(f"\n## Decoding\n{text}")
    print("".join(parts))
    if args.out is not None:
        args.out.write_text("".join(parts))


if __name__ == "__main__":
    main()
