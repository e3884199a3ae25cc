"""The stage ``decode``: a dataset's videos into LMDB clip shards and a manifest.

Every listed video is decoded once, whatever its splits, each in a child process that may crash.
What cannot be decoded is listed in the manifest's ``rejects`` with its reason; nothing takes its
place. The outputs are the same bytes for any number of threads, and after any number of kills.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from videossl import durable
from videossl.data.datasets import prepare
from videossl.data.decoding import isolate, locate, reuse, video
from videossl.data.shards import builder, disk_space, recording, records
from videossl.data.shards.builder import Facts, ShardBuilder
from videossl.data.shards.recording import Record, Recording
from videossl.job import Job, UserError
from videossl.study.schema import Decode, FolderData

if TYPE_CHECKING:
    from videossl.study.reads import DecodeParams

LIBRARIES = ("av", "decord", "lmdb", "simplejpeg")
DEADLINE = 120.0  # seconds without a new frame for any video, and besides
BYTES_PER_SECOND = 50_000  # of a file: forty times slower than one core decodes Kinetics
SMALLER = "decode.short_side, decode.quality or decode.fps"
ATTEMPTS = 3  # the first two with the decoder that was asked for


@dataclass(frozen=True)
class Stored:
    """What a child hands back for one video."""

    record: Record
    bytes: int  # of the record
    facts: Facts


def run(job: Job, params: DecodeParams) -> None:
    """Decode the dataset into ``job.out``.

    The built-in dataset's files are the input ``videos`` itself; those of a dataset on disk lie
    under its ``root``, and ``videos`` is the list that says which they are.

    Raises:
        UserError: not one video can be stored, or the disk is too small.
    """
    data, options = params.data, params.decode
    folder = job.input("videos")
    listed = prepare.read(folder, Path(data.root) if isinstance(data, FolderData) else folder)
    head = {
        "dataset": job.key["dataset"],
        "decode": options.model_dump(),
        "codec": options.codec,
        "channels": 3,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    kept = reuse.reusable(job, head, listed)
    held = {name for shard in kept for name in shard.names}
    names = [one.name for one in listed if one.name not in held]
    build = ShardBuilder(job.scratch / "shards", options.shard_megabytes << 20)
    done = build.resume(names, listed.still_has)
    rest = names[done:]
    if held or done:
        print(f"{len(held)} videos stored earlier, {done} before the interruption", file=sys.stderr)
    large = job.scratch / recording.FOLDER
    recording.clear(large)  # what a killed process left
    spans = {one.name: one.span for one in listed if one.span is not None}
    store = partial(store_one, listed.root, options, large, spans=spans)
    pool = partial(
        isolate.ordered, store, deadline=partial(seconds_for, listed.root), attempts=ATTEMPTS
    )
    disk_space.check(job.scratch, [listed.videos[name] for name in rest], pool, job.threads)
    recording.clear(large)
    late = _fill(build, rest, pool(rest, children=job.threads), job.key["dataset"])
    shards = [*kept, *build.finished]
    for shard in shards:
        for facts in shard.videos:
            one = listed.videos[facts["name"]]
            facts.update(label=one.label, splits=one.splits)
    rejects = [*late, *(reject for shard in shards for reject in shard.rejects)]
    if not shards:
        raise UserError(
            f"{listed.root}: none of {len(rejects)} videos can be stored; "
            f"first: {rejects[0]['name']}: {rejects[0]['reason']}"
        )
    rest_of_head = {"classes": listed.classes, "absent": listed.absent}
    builder.publish(job.out, shards, late, head | rest_of_head)
    if rejects:
        print(f"{len(rejects)} of {len(listed.videos)} videos rejected", file=sys.stderr)


def _fill(
    build: ShardBuilder,
    names: Sequence[str],
    results: Iterator[Stored | isolate.Failure],
    title: str,
) -> list[Facts]:
    """Put all results into shards; returns the rejects after the last shard."""
    progress = tqdm(results, desc=title, total=len(names), unit="video", disable=None)
    for name, result in zip(names, progress, strict=True):
        if isinstance(result, isolate.Failure):
            build.reject(name, result.reason)
        else:
            build.add(result.record, {"name": name, **result.facts})
    return build.close()


def seconds_for(root: Path, name: str) -> float:
    """How long one video may take for its next frame: CPU time, so that no other process counts."""
    return DEADLINE + prepare.size_of(root / name) / BYTES_PER_SECOND


def store_one(
    root: Path,
    options: Decode,
    folder: Path,
    name: str,
    attempt: int,
    spans: Mapping[str, list[float]] | None = None,
) -> Stored:
    """Decode one video into its record, in ``folder`` if it is large; runs in a child process.

    Of videos that are in ``spans`` only those seconds are stored, and the facts say so.
    Earlier attempts crashed, hung or ran out of memory: the third uses PyAV, and says so.

    Raises:
        isolate.Refused: it cannot be decoded, is too short, or too large for a record. The reason
            names no folder of this machine, because it goes into the manifest.
        UserError: the disk is full.
    """
    backend = options.backend if attempt < ATTEMPTS - 1 else "pyav"
    encode = records.encoder(options.codec, options.quality)
    fps = None if options.fps == "native" else options.fps
    span = (spans or {}).get(name)
    with Recording(folder) as recorded:

        def keep(image: video.Image) -> int:
            isolate.progress()
            return recorded.add(encode(image))

        try:
            path = locate.locate(root, name)
            decoded = video.decode(path, backend, options.short_side, keep, fps, span)
            count = len(decoded.frames)
            if count < options.min_frames:
                raise isolate.Refused(f"{count} frames; decode.min_frames is {options.min_frames}")
            size = (decoded.height, decoded.width)
            record = recorded.record(decoded.frames, options.codec, *size)
        except locate.Unreadable as error:
            raise isolate.Refused(str(error)) from None
        except records.TooLarge as error:
            raise isolate.Refused(f"{error}; {SMALLER} make it smaller") from None
    if backend != options.backend:
        text = f"decoded with PyAV: the {options.backend} process crashed or hung twice"
        decoded = replace(decoded, warnings=[text, *decoded.warnings])
    left_out = {"frames", "times"} if span else {"frames", "times", "begin"}
    facts = {name: value for name, value in vars(decoded).items() if name not in left_out}
    if span:
        facts["span"] = span
    source = {"source_bytes": path.stat().st_size, "source_sha256": durable.sha256(path)}
    return Stored(record, recording.size_of(record), facts | {"frames": count} | source)
