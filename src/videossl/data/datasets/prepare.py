"""Stage ``prepare`` for a dataset on disk: check that it is there and write down what it holds.

The list is all that ``decode`` knows of a dataset. Videos on disk are taken as fixed after that:
raise ``data.<name>.revision`` after adding or changing some.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videossl.data.datasets.files import expand, folder_of, printable
from videossl.data.datasets.index import Index
from videossl.job import Job, UserError

if TYPE_CHECKING:
    from videossl.study.reads import PrepareParams

INDEX, ANNOTATIONS = "index.json", "annotations.json"


def run(job: Job, params: PrepareParams) -> None:
    """Write ``index.json``, and ``annotations.json`` where the dataset has such."""
    data = params.data
    assert data.format != "synthetic"
    root = expand(data.root)
    index = job.modules["dataset"].read(root, data.missing)
    write(index, root, job.out)
    if index.absent:
        total = len(index.entries) + len(index.absent)
        print(f"{len(index.absent)} of {total} listed videos are absent", file=sys.stderr)
    if index.odd:
        first = printable(index.odd[0])
        print(f"{len(index.odd)} odd annotations are left out; first: {first}", file=sys.stderr)


def write(index: Index, root: Path, out: Path) -> None:
    """Write an index; its own root is noted relative to the dataset's ``root``, which may be a
    table. The files named in ``odd`` are relative to it too.

    ``annotations.json`` maps a video's name to its annotations, and "" to the dataset's own.
    """
    base = folder_of(root)
    listed = {
        "root": index.root.relative_to(base).as_posix(),
        "classes": index.classes,
        "absent": index.absent,
        "odd": [line.removeprefix(f"{base}/") for line in index.odd],
        "videos": [
            {
                "name": entry.name,
                "label": entry.label,
                "splits": entry.splits,
                "bytes": size_of(f"{index.root}/{entry.name}"),
                **({"span": list(entry.span)} if entry.span else {}),
            }
            for entry in sorted(index.entries, key=lambda entry: entry.name)
        ],
    }
    _dump(listed, out / INDEX)
    annotations = {e.name: e.annotations for e in index.entries if e.annotations is not None}
    if index.annotations is not None:
        annotations[""] = index.annotations
    if annotations:
        _dump(annotations, out / ANNOTATIONS)


def _dump(value: Any, path: Path) -> None:
    # ASCII: file names may hold any bytes, which Python keeps as surrogates
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="ascii")


def size_of(path: Path | str) -> int:
    """Bytes of a regular file; 0 for anything else, which ``decode`` rejects."""
    try:
        found = Path(path).stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    except (OSError, ValueError):  # a name too long or with a null, a folder without rights
        return 0


@dataclass(frozen=True)
class Listed:
    """One video to decode; ``span`` are the seconds to store, None: all."""

    name: str
    label: int
    splits: dict[str, str]
    bytes: int
    span: list[float] | None = None


@dataclass(frozen=True)
class Listing:
    """What ``prepare`` found, read back.

    ``root`` is the folder that the names are relative to; ``absent`` is how many videos that the
    dataset's lists name are not there.
    """

    root: Path
    classes: list[str]
    videos: dict[str, Listed]
    absent: int = 0

    def still_has(self, facts: Mapping[str, Any]) -> bool:
        """Whether a stored video, of which the manifest says ``facts``, would be stored again."""
        one = self.videos.get(facts["name"])
        stored = (facts["source_bytes"], facts.get("span"))
        return one is not None and (one.bytes, one.span) == stored

    def __iter__(self) -> Iterator[Listed]:
        return iter(self.videos.values())


def read(folder: Path, root: Path) -> Listing:
    """The listing that ``prepare`` wrote into ``folder``, of the dataset under ``root``.

    ``root`` may be written with ``~`` and variables, and be a table.

    Raises:
        UserError: it is not there.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"{path}: not found; `prepare` did not finish there")
    raw = json.loads(path.read_text(encoding="ascii"))
    videos = {video["name"]: Listed(**video) for video in raw["videos"]}
    base = folder_of(expand(str(root)))
    return Listing(base / raw["root"], raw["classes"], videos, len(raw["absent"]))
