"""Run one stage instance: check, hand over, publish whole or not at all."""

from __future__ import annotations

import importlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from videossl import machine
from videossl.job import Job, UserError
from videossl.study import disk, ownership, publication, records
from videossl.study.graph import Graph
from videossl.study.stages import Instance, stage_of

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

    The output appears by one rename, so that it is whole or absent whenever the process dies. A
    second process that is told to make the same instance waits for the first.

    Raises:
        UserError: ``params.yaml`` or the code changed since ``expect`` was planned, an input is
            not there or damaged, ``out`` holds something that was not made here, or the disk is
            full or refuses to be written.
    """
    fingerprint = graph.fingerprint(node)
    if expect is not None and expect != fingerprint:
        raise UserError(
            f"{node}: planned as {expect}, but params.yaml and the code now give {fingerprint}; "
            "start the workflow again"
        )
    if machine.rank():  # of several ranks one makes the output
        _run(graph, node, inputs, publication.part_of(out), threads)
        return
    lock = ownership.lock_of(*node.path.parts, fingerprint)
    with disk.explained(out), ownership.owned(lock, str(node)) as waited:
        if waited and records.holds(out, fingerprint):
            print(f"{node}: it is there now", flush=True)
            return
        _check_inputs(graph, node, inputs, exact=expect is not None)
        with publication.made(out) as part:
            job, seconds = _run(graph, node, inputs, part, threads)
            record = {
                "stage": node.stage,
                "key": dict(node.key),
                "fingerprint": fingerprint,
                "seconds": seconds,
                "params": graph.leaves(node),
                "contents": graph.contents(node),
                "code": job.code,
                "versions": _versions(),
                "files": records.digests(part),
            }
            records.write(record, part)
        shutil.rmtree(job.scratch, ignore_errors=True)


def _check_inputs(
    graph: Graph, node: Instance, inputs: Mapping[str, Sequence[Path]], exact: bool
) -> None:
    """Refuse inputs that are absent, damaged, another's, or of other parameters.

    Under ``exact`` their fingerprints count too. DVC keeps what gave the same bytes when something
    before it changed, so there an equal result may carry an older fingerprint.
    """
    for role, nodes in graph.needs(node).items():
        paths = inputs.get(role, ())
        if len(paths) != len(nodes):
            raise UserError(f"{node}: takes {len(nodes)} folders as {role}, got {len(paths)}")
        for needed, path in zip(nodes, paths, strict=True):
            if not path.is_dir():
                raise UserError(f"{node}: its {role} is not there: {path}")
            record = records.check(path, arrays=role not in stage_of(node.stage).glances)
            found = record["stage"], record["key"]
            if found != (needed.stage, dict(needed.key)):
                what = "/".join([found[0], *map(str, found[1].values())])
                raise UserError(f"{path}: is the output of {what}, but {node} needs {needed}")
            if not records.made_with(record, graph.leaves(needed)) or (
                exact and record["fingerprint"] != graph.fingerprint(needed)
            ):
                raise UserError(
                    f"{path}: was made with other parameters or other code than params.yaml and "
                    f"the code are now; run the workflow again, which makes {needed} again"
                )


def _run(
    graph: Graph,
    node: Instance,
    inputs: Mapping[str, Sequence[Path]],
    part: Path,
    threads: int | None,
) -> tuple[Job, float]:
    """Hand over to the stage; returns what it was given and how many seconds it took."""
    threads = max(1, (threads or machine.threads()) // machine.ranks_here())
    machine.compute_in_one_thread()  # what can run beside that, like reading clips, does
    modules = {role: importlib.import_module(name) for role, name in graph.modules(node).items()}
    job = Job(
        stage=node.stage,
        key=dict(node.key),
        inputs={role: tuple(paths) for role, paths in inputs.items()},
        out=part,
        scratch=SCRATCH / graph.path(node),
        threads=threads,
        modules=modules,
        code=graph.code(node),
    )
    begin = time.monotonic()
    importlib.import_module(graph.entry(node)).run(job, graph.subset(node))
    return job, round(time.monotonic() - begin, 3)


def _versions() -> dict[str, str]:
    """Versions of the libraries that this process loaded and that can decide a result."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    names = {"scikit-learn": "sklearn"}
    known = {n: version(n) for n in RECORDED if names.get(n, n) in loaded}
    return {"python": sys.version.split()[0], **known}


def inputs_below(graph: Graph, node: Instance, tree: Path) -> dict[str, list[Path]]:
    """Role -> outputs of what ``node`` needs, where Snakemake keeps them below ``tree``."""
    return {
        role: [tree / graph.path(needed) for needed in nodes]
        for role, nodes in graph.needs(node).items()
    }
