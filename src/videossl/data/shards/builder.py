"""Build a folder of shards, one finished shard after another, so that a kill costs one shard.

A finished shard and the facts about what it holds are a portion. Portions stand in the stage's
scratch folder until all are there; then they are linked into the output and the manifest is
written, last. Portions of an earlier output are taken over as they are.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videossl.data.shards import records

Facts = dict[str, Any]


@dataclass(frozen=True)
class Portion:
    """A finished shard file; what its records are, in their order, and what was rejected then."""

    path: Path
    size: int
    sha256: str
    videos: list[Facts]  # each with "name", "offset" and "length"
    rejects: list[Facts]  # each with "name" and "reason"

    @property
    def names(self) -> list[str]:
        """Everything that was tried for this portion."""
        return [facts["name"] for facts in (*self.videos, *self.rejects)]


@dataclass
class _Pending:
    videos: list[Facts] = field(default_factory=list)
    rejects: list[Facts] = field(default_factory=list)


class Building:
    """Portions under construction in ``folder``; what a killed process finished there counts."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.shard_bytes = folder, shard_bytes
        self.portions = _finished(folder)
        self._writer: records.ShardWriter | None = None
        self._pending = _Pending()

    def resume(self, names: Sequence[str], unchanged: Callable[[Facts], bool]) -> int:
        """How many of ``names``, from the first, are done.

        The first portion that does not fit, because the names or a video's source are others now,
        is dropped with all that follow.
        """
        done = 0
        for number, portion in enumerate(self.portions):
            following = names[done : done + len(portion.names)]
            fits = sorted(following) == sorted(portion.names)
            if not fits or not all(map(unchanged, portion.videos)):
                for wrong in self.portions[number:]:
                    _facts_file(wrong.path).unlink()
                del self.portions[number:]
                break
            done += len(following)
        return done

    def add(self, record: bytes, facts: Facts) -> None:
        """Append a record; ``facts`` tell its name and what the manifest says of it."""
        if self._writer is None:
            path = self.folder / f"{len(self.portions):05d}.lmdb"
            path.unlink(missing_ok=True)  # begun by a process that was killed
            self._writer = records.ShardWriter(path, self.shard_bytes)
        self._writer.put(record)
        self._pending.videos.append(facts)
        if self._writer.full:
            self._finish()

    def reject(self, name: str, reason: str) -> None:
        """Note that ``name`` has no record."""
        self._pending.rejects.append({"name": name, "reason": reason})

    def close(self) -> list[Facts]:
        """Finish the last shard; returns the rejects that came after it."""
        if self._writer is not None:
            self._finish()
        return self._pending.rejects

    def abandon(self) -> None:
        """Give up the shard that is not finished; the finished ones stay."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _finish(self) -> None:
        assert self._writer is not None
        writer, self._writer = self._writer, None
        pending, self._pending = self._pending, _Pending()
        for facts, (offset, length) in zip(pending.videos, writer.close(), strict=True):
            facts.update(offset=offset, length=length)
        path = writer.path
        portion = Portion(
            path, path.stat().st_size, records.sha256(path), pending.videos, pending.rejects
        )
        kept = {name: value for name, value in vars(portion).items() if name != "path"}
        write_synced(_facts_file(path), json.dumps(kept))
        self.portions.append(portion)


def _facts_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _finished(folder: Path) -> list[Portion]:
    """The portions that are complete, up to the first that is not."""
    found: list[Portion] = []
    while (file := folder / f"{len(found):05d}.json").is_file():
        found.append(Portion(file.with_suffix(".lmdb"), **json.loads(file.read_text())))
    return found


def write_synced(path: Path, text: str) -> None:
    """Write a file that is whole or absent, also after a loss of power."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    records.sync_folder(path.parent)


def publish(out: Path, portions: Sequence[Portion], rejects: Sequence[Facts], head: Facts) -> Facts:
    """Link the portions' shards into ``out`` and write the manifest, last; returns it.

    The manifest is ``head``, the shards with size and SHA-256, and videos and rejects by name: so
    that the number of a video, on which sampling depends, does not tell how the shards came about.
    """
    files = []
    videos = []
    refused = list(rejects)
    for number, portion in enumerate(portions):
        name = f"shard-{number:05d}.lmdb"
        _link(portion.path, out / name)
        files.append({"file": name, "size": portion.size, "sha256": portion.sha256})
        videos += [facts | {"shard": number} for facts in portion.videos]
        refused += portion.rejects
    manifest = {
        **head,
        "version": records.VERSION,
        "shards": files,
        "videos": sorted(videos, key=_name),
        "rejects": sorted(refused, key=_name),
    }
    write_synced(out / records.MANIFEST, _dump(manifest))
    return manifest


def _name(facts: Facts) -> str:
    return str(facts["name"])


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _dump(manifest: Mapping[str, Any]) -> str:
    """JSON with one line per item of a list: a manifest may hold 240,000 videos.

    ASCII only, because file names may be any bytes (surrogates here).
    """
    parts = []
    for key in sorted(manifest):
        value = manifest[key]
        if isinstance(value, list) and value:
            items = ",\n  ".join(json.dumps(item, sort_keys=True) for item in value)
            text = f"[\n  {items}\n ]"
        else:
            text = json.dumps(value, sort_keys=True)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
