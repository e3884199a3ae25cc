"""Build a folder of shards, one finished shard after another, so that a kill costs one shard.

Finished shards stand in the stage's scratch folder, each beside the facts about what it holds,
until all are there; then they are linked into the output and the manifest is written, last.
Finished shards of an earlier output are taken over as they are.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videossl import durable
from videossl.data.shards import disk_space, recording, records
from videossl.data.shards.recording import Record

Facts = dict[str, Any]


@dataclass(frozen=True)
class FinishedShard:
    """A shard file; what its records are, in their order, and what was rejected then."""

    path: Path
    size: int
    sha256: str
    videos: list[Facts]  # each with "name", "offset" and "length"
    rejects: list[Facts]  # each with "name" and "reason"

    @property
    def names(self) -> list[str]:
        """Everything that was tried for this shard."""
        return [facts["name"] for facts in (*self.videos, *self.rejects)]


@dataclass
class _Pending:
    videos: list[Facts] = field(default_factory=list)
    rejects: list[Facts] = field(default_factory=list)


class ShardBuilder:
    """Makes shards in ``folder``; those that a killed process finished there count.

    Raises:
        UserError: the disk is full, or the folder cannot be written; from every method.
    """

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        with disk_space.explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.shard_bytes = folder, shard_bytes
        self.finished = _finished(folder)
        self._writer: records.ShardWriter | None = None
        self._pending = _Pending()

    def resume(self, names: Sequence[str], unchanged: Callable[[Facts], bool]) -> int:
        """How many of ``names``, from the first, are done.

        The first shard that does not fit, because the names or a video's source are others now,
        is dropped with all that follow.
        """
        done = 0
        for number, shard in enumerate(self.finished):
            following = names[done : done + len(shard.names)]
            fits = sorted(following) == sorted(shard.names)
            if not fits or not all(map(unchanged, shard.videos)):
                for wrong in self.finished[number:]:
                    _facts_file(wrong.path).unlink()
                del self.finished[number:]
                break
            done += len(following)
        return done

    def add(self, record: Record, facts: Facts) -> None:
        """Append a record, whose file is removed; ``facts`` are its name and the manifest's."""
        with self._explained():
            if self._writer is None:
                path = self.folder / f"{len(self.finished):05d}.lmdb"
                path.unlink(missing_ok=True)  # begun by a process that was killed
                self._writer = records.ShardWriter(path, self.shard_bytes)
            with recording.opened(record) as data:
                self._writer.put(data)
                checksum = records.table_checksum(data)
            self._pending.videos.append(facts | {"table_crc32": checksum})
            if isinstance(record, Path):
                record.unlink()
            if self._writer.full:
                self._finish()

    def reject(self, name: str, reason: str) -> None:
        """Note that ``name`` has no record."""
        self._pending.rejects.append({"name": name, "reason": reason})

    def close(self) -> list[Facts]:
        """Finish the last shard; returns the rejects that came after it."""
        if self._writer is not None:
            with self._explained():
                self._finish()
        return self._pending.rejects

    def abandon(self) -> None:
        """Give up the shard that is not finished; the finished ones stay."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with disk_space.explained(self.folder, "finished shards stay, run the stage again"):
            try:
                yield
            except OSError:
                self.abandon()
                raise

    def _finish(self) -> None:
        assert self._writer is not None
        writer, self._writer = self._writer, None
        pending, self._pending = self._pending, _Pending()
        for facts, (offset, length) in zip(pending.videos, writer.close(), strict=True):
            facts.update(offset=offset, length=length)
        path = writer.path
        shard = FinishedShard(
            path, path.stat().st_size, durable.sha256(path), pending.videos, pending.rejects
        )
        kept = {name: value for name, value in vars(shard).items() if name != "path"}
        write_synced(_facts_file(path), [json.dumps(kept)])
        self.finished.append(shard)


def _facts_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _finished(folder: Path) -> list[FinishedShard]:
    """The shards that are complete and as they were written, up to the first that is not."""
    shards: list[FinishedShard] = []
    while (file := folder / f"{len(shards):05d}.json").is_file():
        try:
            shard = FinishedShard(file.with_suffix(".lmdb"), **json.loads(file.read_text()))
            whole = durable.sha256(shard.path) == shard.sha256
        except (OSError, ValueError, TypeError):  # what is damaged is made again
            break
        if not whole:
            break
        shards.append(shard)
    for later in sorted(folder.glob("[0-9]*.json"))[len(shards) :]:
        later.unlink()
    return shards


def write_synced(path: Path, texts: Iterable[str]) -> None:
    """Write a file that is whole or absent, also after a loss of power; its texts in turn."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(texts)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    durable.sync_folder(path.parent)


def publish(
    out: Path, shards: Sequence[FinishedShard], rejects: Sequence[Facts], head: Facts
) -> None:
    """Link the shards into ``out`` and write the manifest, last.

    The manifest is ``head``, the shards with size and SHA-256, and videos and rejects by name: so
    that the number of a video, on which sampling depends, does not tell how the shards came about.

    Raises:
        UserError: the disk is full.
    """
    files = []
    videos: list[tuple[int, Facts]] = []
    refused = list(rejects)
    with disk_space.explained(out):
        for number, shard in enumerate(shards):
            name = f"shard-{number:05d}.lmdb"
            _link(shard.path, out / name)
            files.append({"file": name, "size": shard.size, "sha256": shard.sha256})
            videos += [(number, facts) for facts in shard.videos]
            refused += shard.rejects
    videos.sort(key=lambda video: _name(video[1]))
    manifest = {
        **head,
        "version": records.VERSION,
        "shards": files,
        "videos": (facts | {"shard": number} for number, facts in videos),
        "rejects": sorted(refused, key=_name),
    }
    with disk_space.explained(out):
        write_synced(out / records.MANIFEST, _dump(manifest))


def _name(facts: Facts) -> str:
    return str(facts["name"])


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _dump(manifest: Mapping[str, Any]) -> Iterator[str]:
    """JSON with one line per item of a list or generator: a manifest may hold a million videos.

    ASCII only, because file names may be any bytes (surrogates here).
    """
    yield "{\n"
    for place, key in enumerate(sorted(manifest)):
        value = manifest[key]
        yield ("" if place == 0 else ",\n") + f" {json.dumps(key)}: "
        if isinstance(value, list | Iterator):
            yield from _items(value)
        else:
            yield json.dumps(value, sort_keys=True)
    yield "\n}\n"


def _items(values: Iterable[Any]) -> Iterator[str]:
    between = "[\n  "
    for value in values:
        yield between + json.dumps(value, sort_keys=True)
        between = ",\n  "
    yield "[]" if between.startswith("[") else "\n ]"
