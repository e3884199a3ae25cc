"""No damaged input gives a number: each is one line that says what to remove.

Every file that a stage writes, damaged in eight ways, read by the stage after it or by the verb
that reads it, in the trees of both engines. What has no effect on what is read must have none on
the result: that is tried of shards, whose frames have checksums of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.study import Study
from videossl import remeasure
from videossl.job import UserError
from videossl.report import compare, kept
from videossl.study import execution, graph, grouped, publication, records
from videossl.study.graph import Graph
from videossl.study.stages import Instance, instance

TEST = "synthetic"
PREPARE, DECODE = instance("prepare", TEST), instance("decode", TEST)
SELECT = instance("select", "probe", TEST)
PRETRAIN = instance("pretrain", "rspnet", "0")
FINETUNE = instance("finetune", "rspnet", TEST, "0", "1")
PREDICT = instance("test", "rspnet", TEST, "0", "1")
EMBED = instance("embed", "rspnet", TEST, "0")
KNN = instance("evaluate", "rspnet", TEST, "knn", "0", "1")
PROTOCOLS = ("linear", "attentive", "retrieval")
REPORT = instance("aggregate")
OTHER_TESTS = [instance("evaluate", "rspnet", TEST, p, "0", "1") for p in PROTOCOLS]
READERS: list[tuple[Instance, Instance | None]] = [  # whose files, and who reads them: None, a verb
    (PREPARE, DECODE),
    (DECODE, EMBED),
    (SELECT, KNN),
    (instance("select", "finetune", TEST), FINETUNE),
    (PRETRAIN, EMBED),
    (instance("initialize", "scratch", "0"), instance("embed", "scratch", TEST, "0")),
    (FINETUNE, PREDICT),
    (PREDICT, REPORT),
    (EMBED, KNN),
    (KNN, REPORT),
    *((node, REPORT) for node in OTHER_TESTS),
    (REPORT, None),
]
FOREIGN = b"GIF89a, which is none of ours\n" * 40


def flipped(data: bytes, place: int, bit: int) -> bytes:
    out = bytearray(data)
    out[place] ^= 1 << bit
    return bytes(out)


# of the last float32 of a file of weights; somewhere in the middle of any other
DAMAGE: dict[str, Callable[[bytes, bytes], bytes]] = {
    "truncated": lambda data, other: data[: len(data) // 2],
    "empty": lambda data, other: b"",
    "zeros": lambda data, other: bytes(len(data)),
    "garbage": lambda data, other: os.urandom(len(data)),
    "bit of an exponent": lambda data, other: flipped(data, _last_float(data) + 3, 6),
    "bit of a mantissa": lambda data, other: flipped(data, _last_float(data), 0),
    "exchanged": lambda data, other: other,
    "foreign": lambda data, other: FOREIGN,
}
NAMED = {
    *("index.json", "annotations.json", "gaze.npz", "boxes.csv", "pairs.csv", "manifest.json"),
    *("examples.csv", "examples.json", "encoder.safetensors", "curve.tsv", "batch.npz"),
    *("classifier.safetensors", "occlusion.npz", "features.npy", "features.csv", "features.json"),
    *("tokens.npy", "predictions.npz", "metrics.json", "results.csv", "examples.npz"),
    *("params.json", "stage.json"),
}
UNREAD = {"speed.tsv", ".snakemake_timestamp", "contents.json"}
UNREAD_BY = {"snakemake": "contents.json", "dvc": ".snakemake_timestamp"}
ROWS = {"rspnet": "rho_moco"}


def _last_float(data: bytes) -> int:
    weights = data[8:9] == b"{"  # safetensors: a length, then JSON
    return len(data) - 4 if weights else len(data) // 2


def place(planned: Graph, tree: Path, node: Instance) -> Path:
    return tree / planned.path(node) if tree.name == "runs" else grouped.place(tree, node)


def exchanged(planned: Graph, tree: Path, node: Instance, path: Path) -> bytes:
    """The file of that name of another row's run; else, if it is equal, another file of this."""
    key = [ROWS.get(value, value) for _, value in node.key]
    other = place(planned, tree, instance(node.stage, *key))
    candidate = other / path.relative_to(place(planned, tree, node))
    if candidate.is_file() and candidate.read_bytes() != path.read_bytes():
        return candidate.read_bytes()
    others = [one for one in sorted(path.parent.rglob("*")) if one.is_file() and one != path]
    return next((one.read_bytes() for one in others if one.stat().st_size), FOREIGN[::-1])


def files(folder: Path) -> list[Path]:
    """What is read of what a stage wrote, of videos the first."""
    names = {**records.read(folder)["files"], publication.RECORD: {}}
    if folder.parts[1] in ("report", "aggregate"):
        names = {name: {} for name in (*kept.READ, publication.RECORD)}
    first: dict[str, str] = {}
    for name in sorted(names):
        first.setdefault(".mp4" if name.endswith(".mp4") else name, name)
    return [folder / name for name in first.values()]


@contextlib.contextmanager
def replaced(path: Path, data: bytes) -> Iterator[None]:
    """The file has other bytes; it may be a link to one that other tests use."""
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    path.write_bytes(data)
    try:
        yield
    finally:
        kept.replace(path)


def read(planned: Graph, tree: Path, folder: Path, reader: Instance | None, out: Path) -> None:
    """Do what reads the files of ``folder``."""
    records._checked.clear()
    if reader is None:
        compare.compare(folder, folder)
        return
    inputs = {
        role: [place(planned, tree, needed) for needed in nodes]
        for role, nodes in planned.needs(reader).items()
    }
    execution.execute(planned, reader, inputs, out)


@pytest.fixture(params=["snakemake", "dvc"])
def inside(tiny: Study, monkeypatch, request) -> tuple[str, Graph, Path]:
    """An engine, the study in whose folder the test is, and where that engine keeps outputs."""
    monkeypatch.chdir(tiny.root)
    return request.param, graph.load(), Path("runs" if request.param == "snakemake" else "results")


@pytest.mark.slow
def test_damage_is_one_line_or_has_no_effect(inside):
    _, planned, tree = inside
    assert {node.stage for node, _ in READERS} == {node.stage for node in planned.instances}
    wrong, seen = [], set()
    for node, reader in READERS:
        folder = place(planned, tree, node)
        for path in files(folder):
            seen.add(path.name)
            data, other = path.read_bytes(), exchanged(planned, tree, node, path)
            for name, damage in DAMAGE.items():
                damaged = damage(data, other)
                assert damaged != data, path
                said, out = f"{path}, {name}", Path("out", node.stage)
                line = ""
                with replaced(path, damaged):
                    try:
                        read(planned, tree, folder, reader, out)
                    except UserError as error:
                        line = str(error)
                        # another's record says of the files of this one that they are wrong
                        named = folder if name == "exchanged" else path
                        if "\n" in line or str(named) not in line or f"remove {folder}" not in line:
                            wrong.append(f"{said}: {line}")
                    except Exception as error:
                        wrong.append(f"{said}: {error!r}")
                if not line and path.suffix != records.SHARDS:
                    wrong.append(f"{said}: nothing was said")
                if out.exists():
                    assert reader is not None
                    whole = records.read(place(planned, tree, reader))["files"]
                    if records.read(out)["files"] != whole:
                        wrong.append(f"{said}: another result")
                    shutil.rmtree(out)
    assert not wrong, "\n".join(wrong)
    assert seen >= NAMED


@pytest.mark.slow
def test_metrics_are_not_measured_again_of_what_is_damaged(tiny: Study, monkeypatch):
    monkeypatch.chdir(tiny.root)
    planned, tree = graph.load(), Path("runs")
    wrong = []
    for node, file in (
        (KNN, "predictions.npz"),
        (PREDICT, "metrics.json"),
        (instance("select", "finetune", TEST), "examples.csv"),
        (instance("select", "finetune", TEST), "examples.json"),
    ):
        folder = place(planned, tree, node)
        path = folder / file
        data, other = path.read_bytes(), exchanged(planned, tree, node, path)
        for name, damage in DAMAGE.items():
            records._checked.clear()
            remeasure._objective.cache_clear()
            with replaced(path, damage(data, other)):
                try:
                    list(remeasure.measured(planned, 1))
                    wrong.append(f"{path}, {name}: nothing was said")
                except UserError as error:
                    if "\n" in str(error) or not str(error).startswith(f"{path}: damaged"):
                        wrong.append(f"{path}, {name}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_what_no_number_depends_on_may_be_damaged(inside):
    engine, planned, tree = inside
    found = [path for path in tree.rglob("*") if path.name in UNREAD and path.is_file()]
    assert {path.name for path in found} >= UNREAD - {UNREAD_BY[engine]}
    with contextlib.ExitStack() as stack:
        for path in found:
            stack.enter_context(replaced(path, FOREIGN))
        read(planned, tree, Path(), REPORT, Path("out"))
    whole = records.read(place(planned, tree, REPORT))["files"]
    assert records.read(Path("out"))["files"] == whole
