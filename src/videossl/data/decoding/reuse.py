"""Shards of an earlier output of ``decode`` that are still right: a grown dataset keeps them.

A shard is taken over as a whole: every video in it is still listed, with the same bytes, and
parameters, code and libraries are those of today. New and changed videos go into shards after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from videossl.data.datasets.prepare import Listing
from videossl.data.shards import records
from videossl.data.shards.builder import Facts, Portion
from videossl.job import Job

RECORD = "stage.json"
PLACED = ("shard", "label", "splits")  # what the manifest adds to a portion's facts


@dataclass(frozen=True)
class _Output:
    """A finished output of ``decode``: its files by name."""

    manifest: Facts
    file: Callable[[str], Path]


def reusable(job: Job, head: Facts, listed: Listing) -> list[Portion]:
    """The shards of that earlier output which keeps most videos, or none.

    ``head`` is what the manifest will say of parameters and libraries; it must be the same there.
    """
    wanted = {**head, "version": records.VERSION}
    best: list[Portion] = []
    for output in _outputs(job):
        if any(output.manifest.get(key) != value for key, value in wanted.items()):
            continue
        portions = [p for p in _portions(output) if _same_sizes(p, listed)]
        if sum(len(p.videos) for p in portions) > sum(len(p.videos) for p in best):
            best = portions
    with ThreadPoolExecutor(job.threads) as pool:
        return [p for p in best if all(pool.map(lambda f: _same_bytes(f, listed), p.videos))]


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
    """The content of a JSON file; None where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _portions(output: _Output) -> Iterator[Portion]:
    """The shards of an output whose files are there in full; rejects are tried again."""
    for number, shard in enumerate(output.manifest["shards"]):
        path = output.file(shard["file"])
        if not path.is_file() or path.stat().st_size != shard["size"]:
            continue
        videos = [
            {key: value for key, value in facts.items() if key not in PLACED}
            for facts in sorted(output.manifest["videos"], key=lambda facts: int(facts["offset"]))
            if facts["shard"] == number
        ]
        yield Portion(path, shard["size"], shard["sha256"], videos, [])


def _same_sizes(portion: Portion, listed: Listing) -> bool:
    return all(
        facts["name"] in listed.videos
        and listed.videos[facts["name"]].bytes == facts["source_bytes"]
        for facts in portion.videos
    )


def _same_bytes(facts: Facts, listed: Listing) -> bool:
    with (listed.root / facts["name"]).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest == str(facts["source_sha256"])
