"""The stage ``decode``: a dataset's videos into LMDB clip shards and a manifest.

Every listed video is decoded once, whatever its splits, each in a child process that may crash.
What cannot be decoded is listed in the manifest's ``rejects`` with its reason; nothing takes its
place. The outputs are the same bytes for any number of threads.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from videossl.data import isolate, shards, video
from videossl.data.index import Entry, Index
from videossl.data.store import MANIFEST
from videossl.job import Job, UserError
from videossl.schema import Decode, FolderData

if TYPE_CHECKING:
    from videossl.params import DecodeParams

LIBRARIES = ("av", "decord", "lmdb", "simplejpeg")
DEADLINE = 120.0  # seconds for any video, and besides
BYTES_PER_SECOND = 50_000  # of a file: forty times slower than one core decodes Kinetics

Facts = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """What a child hands back for one video."""

    record: bytes
    facts: Facts


def run(job: Job, params: DecodeParams) -> None:
    """Decode the dataset into ``job.out``.

    The built-in dataset's files are the input ``videos`` itself; those of a dataset on disk lie
    under its ``root``, and ``videos`` is the list that says they are there.

    Raises:
        UserError: the dataset's lists are at fault, or not one video can be stored.
    """
    data = params.data
    root = Path(data.root) if isinstance(data, FolderData) else job.input("videos")
    index: Index = job.modules["dataset"].read(root)
    results = isolate.ordered(
        partial(store_one, index.root, params.decode),
        [entry.name for entry in index.entries],
        children=job.threads,
        deadline=partial(seconds_for, index.root),
    )
    writer = shards.Writer(job.out, params.decode.shard_megabytes << 20)
    videos: list[Facts] = []
    rejects: list[Facts] = []
    progress = tqdm(
        results, desc=job.who["dataset"], total=len(index.entries), unit="video", disable=None
    )
    for entry, result in zip(index.entries, progress, strict=True):
        if isinstance(result, isolate.Failure):
            rejects.append({"name": entry.name, "reason": result.reason})
        else:
            writer.add(result.record)
            videos.append(_described(entry, result.facts))
    writer.close()
    if not videos:
        first = rejects[0]
        raise UserError(
            f"{index.root}: none of {len(rejects)} videos can be stored; "
            f"first: {first['name']}: {first['reason']}"
        )
    _add_places(videos, writer.places)
    _write_manifest(job, params.decode, index.classes, writer.shards, videos, rejects)
    if rejects:
        print(f"{len(rejects)} of {len(index.entries)} videos rejected", file=sys.stderr)


def seconds_for(root: Path, name: str) -> float:
    """The deadline of one video."""
    path = root / name
    size = path.stat().st_size if path.is_file() else 0
    return DEADLINE + size / BYTES_PER_SECOND


def store_one(root: Path, options: Decode, name: str, attempt: int) -> Stored:
    """Decode one video into its record; runs in a child process.

    A second attempt means that the first crashed, hung or ran out of memory: it uses PyAV.

    Raises:
        isolate.Refused: it cannot be decoded, is too short, or too large for a record. The reason
            names no folder of this machine, because it goes into the manifest.
    """
    backend = options.backend if attempt == 0 else "pyav"
    encode = shards.encoder(options.codec, options.quality)
    try:
        decoded = video.decode(root / name, backend, options.short_side, encode)
        record = shards.pack(decoded.frames, options.codec, decoded.height, decoded.width)
    except (video.Unreadable, shards.TooLarge) as error:
        raise isolate.Refused(str(error)) from None
    count = len(decoded.frames)
    if count < options.min_frames:
        raise isolate.Refused(f"{count} frames; decode.min_frames is {options.min_frames}")
    if backend != options.backend:
        text = f"decoded with PyAV: the {options.backend} process crashed or hung"
        decoded = replace(decoded, warnings=[text, *decoded.warnings])
    facts = {name: value for name, value in vars(decoded).items() if name != "frames"}
    return Stored(record, facts | {"frames": count})


def _described(entry: Entry, facts: Facts) -> Facts:
    return {"name": entry.name, "label": entry.label, "splits": entry.splits} | facts


def _add_places(videos: Sequence[Facts], places: Sequence[shards.Place]) -> None:
    for facts, place in zip(videos, places, strict=True):
        facts.update(vars(place))


def _write_manifest(
    job: Job,
    options: Decode,
    classes: Sequence[str],
    files: Sequence[shards.Shard],
    videos: Sequence[Facts],
    rejects: Sequence[Mapping[str, str]],
) -> None:
    """Last of all: the shards are complete where there is a manifest."""
    manifest = {
        "version": shards.VERSION,
        "dataset": job.who["dataset"],
        "classes": classes,
        "decode": options.model_dump(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "shards": shards.shard_facts(files),
        "videos": videos,
        "rejects": rejects,
    }
    with (job.out / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, sort_keys=True, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    shards.sync_folder(job.out)
