"""Which folder of a study cannot be written to: said before an engine starts anything.

Snakemake removes what is not there before a job, so a folder that is read-only would end in its
traceback and not in the line that the job has for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from videossl.job import UserError
from videossl.study.graph import Graph

ALWAYS = (Path("scratch", "locks"), Path(".snakemake", "locks"), Path(".snakemake", "log"))


def check(graph: Graph, folder: Path = Path()) -> None:
    """Refuse a study in ``folder`` of which Snakemake cannot write something that it has to.

    Raises:
        UserError: naming the folder.
    """
    paths = list(ALWAYS)
    for node in graph.instances:
        made = Path("runs") / graph.path(node)
        if not (folder / made).exists():
            paths += [made.parent, Path("logs") / graph.path(node).parent]
    for place in _there(folder / path for path in paths):
        if not os.access(place, os.W_OK | os.X_OK):  # also of the superuser, if it is read-only
            raise UserError(f"{place}: {_why(place)}; make it writable and run the workflow again")


def _there(paths: Iterable[Path]) -> list[Path]:
    """The paths, each or else the nearest folder above that is there; each of them once."""
    found: dict[Path, None] = {}
    for path in paths:
        found[next((one for one in (path, *path.parents) if one.exists()), Path())] = None
    return list(found)


def _why(place: Path) -> str:
    read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    return "read-only file system" if read_only else "this user may not write there"
