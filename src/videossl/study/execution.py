"""Run one stage instance: check, hand over, publish whole or not at all."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from videossl import machine
from videossl.job import Job, UserError, write_json
from videossl.study.graph import Graph, Instance

SCRATCH = Path("scratch")
RECORDED = ("torch", "numpy", "decord", "av", "lmdb", "simplejpeg", "scikit-learn", "timm")


def execute(
    graph: Graph,
    node: Instance,
    inputs: Mapping[str, Sequence[Path]],
    out: Path,
    expect: str | None = None,
    threads: int | None = None,
) -> None:
    """Run ``node`` and publish its output folder at ``out``.

    The output appears by one rename, so that it is whole or absent whenever the process dies.

    Raises:
        UserError: ``params.yaml`` or the code changed since ``expect`` was planned, or an input
            is not there.
    """
    fingerprint = graph.fingerprint(node)
    if expect is not None and expect != fingerprint:
        raise UserError(
            f"{node}: planned as {expect}, but params.yaml and the code now give {fingerprint}; "
            "start the workflow again"
        )
    for role, paths in inputs.items():
        for path in paths:
            if not path.exists():
                raise UserError(f"{node}: its {role} is not there: {path}")
    main = machine.rank() == 0  # of several ranks one makes the output
    threads = max(1, (threads or machine.threads()) // machine.ranks_here())
    # before torch and numpy are imported: their thread pools are sized once
    os.environ["OMP_NUM_THREADS"] = str(threads)
    part = out.with_name(f".{out.name}.part")
    if main:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    job = Job(
        stage=node.stage,
        who=dict(node.who),
        inputs={role: tuple(paths) for role, paths in inputs.items()},
        out=part,
        scratch=SCRATCH / graph.path(node),
        threads=threads,
        modules={role: importlib.import_module(name) for role, name in graph.modules(node).items()},
        code=graph.code(node),
    )
    begin = time.monotonic()
    importlib.import_module(graph.entry(node)).run(job, graph.subset(node))
    if not main:
        return
    record = {
        "stage": node.stage,
        "who": dict(node.who),
        "fingerprint": fingerprint,
        "seconds": round(time.monotonic() - begin, 3),
        "params": graph.leaves(node),
        "code": job.code,
        "versions": _versions(),
    }
    write_json(part / "stage.json", record)
    _publish(part, out)
    shutil.rmtree(job.scratch, ignore_errors=True)


def _publish(part: Path, out: Path) -> None:
    """Put ``part`` in the place of ``out`` by renames."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    part.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _versions() -> dict[str, str]:
    """Versions of the libraries that this process loaded and that can decide a result."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    names = {"scikit-learn": "sklearn"}
    known = {n: version(n) for n in RECORDED if names.get(n, n) in loaded}
    return {"python": sys.version.split()[0], **known}


def write_plan(graph: Graph, out: Path) -> None:
    """Write each stage's code digests to ``out/<stage>[/<variant>]``, one line per module.

    ``dvc.yaml`` cannot compute what a stage imports; its stages depend on these files instead.
    """
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for node in graph.instances:
        file = part / graph.code_name(node)
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{digest}  {module}\n" for module, digest in graph.code(node).items()]
        file.write_text("".join(lines))
    _publish(part, out)
