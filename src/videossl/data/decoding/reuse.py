"""Shards of an earlier output of ``decode`` that are still right: a grown dataset keeps them.

A shard is taken over as a whole: every video in it is still listed, with the same bytes, and
parameters, code and libraries are those of today. New and changed videos go into shards after it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from videossl import durable
from videossl.data.datasets.prepare import Listing
from videossl.data.shards import records
from videossl.data.shards.builder import Facts, FinishedShard
from videossl.job import Job

RECORD = "stage.json"
PLACED = ("shard", "label", "splits")  # what the manifest adds to the facts of a video in a shard


@dataclass(frozen=True)
class _Output:
    """A finished output of ``decode``: its files by name."""

    manifest: Facts
    file: Callable[[str], Path]


def reusable(job: Job, head: Facts, listed: Listing) -> list[FinishedShard]:
    """The shards of that earlier output which keeps most videos, or none.

    ``head`` is what the manifest will say of parameters and libraries; it must be the same there.
    A shard whose own bytes are not those that were written is made again.
    """
    wanted = {**head, "version": records.VERSION}
    best: list[FinishedShard] = []
    for output in _outputs(job):
        if any(output.manifest.get(key) != value for key, value in wanted.items()):
            continue
        shards = [shard for shard in _shards(output) if _still_listed(shard, listed)]
        if sum(len(shard.videos) for shard in shards) > sum(len(shard.videos) for shard in best):
            best = shards
    with ThreadPoolExecutor(job.threads) as pool:
        whole = pool.map(_is_whole, best)
        return [
            shard
            for shard, is_whole in zip(best, whole, strict=True)
            if is_whole and all(pool.map(lambda facts: _same_bytes(facts, listed), shard.videos))
        ]


def _outputs(job: Job) -> Iterator[_Output]:
    """Finished outputs for the same dataset, made by the same code, beside this one or in DVC."""
    dataset = job.key["dataset"]
    folders = {*job.out.parent.glob("*"), *Path("runs", job.stage, dataset).glob("*")}
    finders = [lambda name, folder=folder: folder / name for folder in sorted(folders)]
    for find in [*finders, *_in_dvc(f"{job.stage}@{dataset}")]:
        manifest, record = _json(find(records.MANIFEST)), _json(find(RECORD))
        if manifest and record and record.get("code") == job.code:
            yield _Output(manifest, find)


def _in_dvc(stage: str) -> Iterator[Callable[[str], Path]]:
    """Where DVC's cache keeps the last output of ``stage``: DVC removes it before it runs again."""
    lock, cache = Path("dvc.lock"), Path(".dvc", "cache", "files", "md5")
    if not lock.is_file():
        return
    stages = YAML(typ="safe", pure=True).load(lock).get("stages", {})
    for out in stages.get(stage, {}).get("outs", []):
        digest = out["md5"]
        tree = _json(cache / digest[:2] / digest[2:])
        if tree:
            files = {item["relpath"]: item["md5"] for item in tree}

            def find(name: str, files: dict[str, str] = files) -> Path:
                digest = files.get(name, "absent")
                return cache / digest[:2] / digest[2:]

            yield find


def _json(path: Path) -> Any:
    """The content of a JSON file; None where there is no such file, or a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        return None


def _shards(output: _Output) -> Iterator[FinishedShard]:
    """The shards of an output whose files are there in full; rejects are tried again."""
    members: list[list[Facts]] = [[] for _ in output.manifest["shards"]]
    for facts in output.manifest["videos"]:
        kept = {key: value for key, value in facts.items() if key not in PLACED}
        members[facts["shard"]].append(kept)
    for shard, videos in zip(output.manifest["shards"], members, strict=True):
        path = output.file(shard["file"])
        if path.is_file() and path.stat().st_size == shard["size"]:
            videos.sort(key=lambda facts: int(facts["offset"]))
            yield FinishedShard(path, shard["size"], shard["sha256"], videos, [])


def _still_listed(shard: FinishedShard, listed: Listing) -> bool:
    return all(map(listed.still_has, shard.videos))


def _is_whole(shard: FinishedShard) -> bool:
    """Whether the disk still has what was written; what is not is decoded again, and said."""
    try:
        whole = durable.sha256(shard.path) == shard.sha256
    except OSError:
        whole = False
    if not whole:
        print(f"{shard.path}: damaged, so its videos are decoded again", file=sys.stderr)
    return whole


def _same_bytes(facts: Facts, listed: Listing) -> bool:
    try:
        return durable.sha256(listed.root / facts["name"]) == str(facts["source_sha256"])
    except OSError:  # it can no longer be read, which decoding it tells
        return False
