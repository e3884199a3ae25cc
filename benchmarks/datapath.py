"""Measure the data path beside what others do: reading clips, cold and warm, loading, decoding.

    python benchmarks/datapath.py                                    # six minutes on two cores
    python benchmarks/datapath.py --videos DIR --seconds 60
    python benchmarks/datapath.py --json benchmarks/results/datapath.json

Videos are generated; those of ``--videos`` come besides: .avi counts as UCF101's, all else as
Kinetics'. What is compared is measured in turns within one run, and medians are shown. Temporary
files go where ``TMPDIR`` says: a disk, or no read is cold. datapath_rivals.py says what is compared
only where it is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import datapath_cold as cold_reads
import datapath_loaders as loaders
import datapath_rivals as rivals
import datapath_tables as tables
import figures_file
import torch
from datapath_rivals import Reader
from datapath_tables import DECORD, FRAMES, LIMIT, OURS, RESIZING, STRIDES
from datapath_videos import Group, groups_of

from videossl.data.decoding import decode, isolate
from videossl.data.loading.loader import TrainBatches, batches
from videossl.data.shards import builder, recording
from videossl.data.shards.store import ClipStore
from videossl.study.schema import Augment, Decode

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "videos"
CLIPS = 6  # per turn, spread evenly over the videos and over their length
LEAST = 0.05  # seconds a fast reader is measured for
DEADLINE = 600.0
BATCH, STEPS = 16, 16  # videos per batch, batches that are measured
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


# ------------------------------------------------------------------------------------ inputs


def store_videos(
    files: Sequence[Path], out: Path, options: Decode, children: int
) -> tuple[ClipStore, float]:
    """Run the stage's parts over ``files``; also frames per second once the children run."""
    build = builder.ShardBuilder(out / "building", options.shard_megabytes << 20)
    results = isolate.ordered(
        partial(decode.store_one, Path("/"), options, out / "building" / recording.FOLDER),
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
        facts = {"name": f"{number:04d}/{path.name}", "label": 0, "splits": {}}
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
    found: dict[str, Reader] = {
        OURS: rivals.Ours(jpeg),
        "ours, raw": rivals.Ours(raw),
        DECORD: rivals.Decord(files),
        RESIZING: rivals.Decord(files, OPTIONS.short_side),
        "PyAV, seek": rivals.PyAV(files),
    }
    if rivals.optional("torchcodec.decoders") is not None:
        found["torchcodec"] = rivals.TorchCodec(files, "exact")
        found["torchcodec, approximate"] = rivals.TorchCodec(files, "approximate")
    found["JPEG files, PIL"] = rivals.Loose(jpeg, folder / "loose")
    found["LMDB value per video, PIL"] = rivals.WholeValue(jpeg, folder / "whole.lmdb")
    if rivals.optional("lance") is not None:
        first = rivals.write_lance(jpeg, folder / "frames.lance")
        for decoder in rivals.DECODERS:
            found[f"Lance, {decoder}"] = rivals.Lance(folder / "frames.lance", first, decoder)
    found[LIMIT] = rivals.InMemory(jpeg, raw=False)
    found["limit: memcpy"] = rivals.InMemory(raw, raw=True)
    return found


def warm(
    groups: Sequence[Group], readers: dict[str, Reader], seconds: float
) -> list[dict[str, Any]]:
    """Clips per second and core out of the page cache, per layout, group and stride."""
    lengths = [video.frames for video in readers[OURS].store.videos]
    processed = {(name, True): rivals.cropped(read) for name, read in readers.items()}
    processed |= {(name, False): read for name, read in readers.items() if name != RESIZING}

    def case(read: Reader, group: Group, stride: int, turn: int) -> float:
        return rate(read, clips_of(group, lengths, stride, turn))

    cases = {
        (*key, group.title, stride): partial(case, read, group, stride)
        for group, stride, (key, read) in product(groups, STRIDES, processed.items())
    }
    names = ("layout", "cropped", "group", "stride")
    return [
        {**dict(zip(names, key, strict=True)), "rate": round(rate, 2)}
        for key, rate in in_turns(cases, seconds).items()
    ]


# ------------------------------------------------------------------------------------ cold reads


def cold(group: Group, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Reads that miss the page cache; none where the file system keeps what it is told to drop."""
    store, _ = store_videos(group.files * 4, folder / "cold", OPTIONS, 2)
    lengths = [video.frames for video in store.videos]
    whole = Group(group.title, group.dataset, group.files * 4, 0)
    measured: dict[Hashable, cold_reads.Cold] = {}
    for stride in STRIDES:
        clips = partial(clips_of, whole, lengths, stride)
        measured["ours", stride] = cold_reads.Cold(store, clips)
        for readahead, name in ((False, "LMDB get"), (True, "LMDB get, read-ahead")):
            measured[name, stride] = cold_reads.ColdValue(store, clips, readahead=readahead)
    found = in_turns({key: one.measure for key, one in measured.items()}, seconds)
    if any(min(one.read) == 0 for one in measured.values()):
        return []
    return [
        {
            **dict(zip(("reader", "stride"), key, strict=True)),
            "rate": round(found[key], 2),
            "kilobytes": median(one.read) / 1e3,
        }
        for key, one in measured.items()
    ]


# ------------------------------------------------------------------------------------ loading


def loading(store: ClipStore, group: Group, seconds: float, folder: Path) -> list[dict[str, Any]]:
    """Batches of two clips per video and their draws, as a method gets them: clips per second."""
    augment = Augment.model_validate(AUGMENT)
    source = TrainBatches(store, list(group.numbers) * BATCH, loaders.two_clips, augment, BATCH, 0)
    source = source.between(0, loaders.WARM + STEPS)
    kinds: dict[str, tuple[Callable[[TrainBatches], Any], str]] = {
        "DataLoader, default collate": (loaders.Rows, "fork"),
        "DataLoader, an item is a batch": (loaders.Whole, "fork"),
    }
    if rivals.optional("lance") is not None:
        first = rivals.write_lance(store, folder / "loading.lance")
        for decoder in rivals.DECODERS:
            table = rivals.Lance(folder / "loading.lance", first, decoder)
            make = partial(loaders.LanceBatches, table=table)
            kinds[f"DataLoader, Lance, {decoder}"] = (make, "forkserver")
    cases: Cases = {
        ("in process", 1): lambda _: loaders.clips_per_second(batches(source), BATCH),
        ("in process", 2): lambda _: loaders.side_by_side(source),
    }
    for n in (1, 2):
        cases["our loader", n] = lambda _, n=n: loaders.clips_per_second(batches(source, n), BATCH)
        for name, (make, how) in kinds.items():
            cases[name, n] = lambda _, make=make, n=n, how=how: loaders.of_torch(
                make, source, n, how
            )
    found = in_turns(cases, seconds)
    names = ("loader", "processes")
    return [
        {**dict(zip(names, key, strict=True)), "rate": round(rate, 1)}
        for key, rate in found.items()
    ]


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


def decoding(groups: Sequence[Group], folder: Path, seconds: float) -> list[dict[str, Any]]:
    """The stage's frames per second; of real videos where there are any."""
    groups = list({group.dataset: group for group in groups}.values())
    cases: Cases = {}
    cores = sorted(os.sched_getaffinity(0))
    kinds = list(product(("pyav", "decord"), (1, 2)))
    for group in groups:
        cases[group.title, "only"] = partial(_decode_only, group.files)
        for backend, n in kinds:
            files = (group.files * 12)[: 4 + 4 * n]
            cases[group.title, f"{backend} {n}"] = partial(
                _stage, files, folder, backend, cores[-n:]
            )
    found = in_turns(cases, seconds)
    store = ClipStore(folder / "jpeg")
    lines = []
    for group in groups:
        frames = sum(store.videos[number].frames for number in group.numbers)
        source = sum(path.stat().st_size for path in group.files)
        stored = sum(store._places[number].length for number in group.numbers)
        lines.append(
            {
                "group": group.title,
                "dataset": group.dataset,
                "frames": frames / len(group.files),
                "source": source / frames,  # bytes per frame
                "stored": stored / frames,
                "rates": {
                    name: round(x, 1) for (of, name), x in found.items() if of == group.title
                },
            }
        )
    return lines


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
    parser.add_argument("--seconds", type=float, default=300, help="of measuring, about")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = args.videos or REAL
        groups = groups_of(folder, real, args.videos is not None, OPTIONS.min_frames)
        readers = readers_of(groups, folder)
        os.sched_setaffinity(0, {max(cores)})
        found["warm"] = warm(groups, readers, 0.5 * args.seconds)
        readers.clear()
        kinetics = groups[1]
        found["cold"] = cold(kinetics, folder, 0.05 * args.seconds)
        os.sched_setaffinity(0, cores)
        jpeg = ClipStore(folder / "jpeg")
        found["loading"] = loading(jpeg, kinetics, 0.2 * args.seconds, folder)
        found["decoding"] = decoding(groups, folder, 0.25 * args.seconds)
    print(found["machine"])
    for show in tables.ALL:
        print(f"\n{show(found)}")
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
