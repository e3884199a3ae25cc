"""No damaged input gives a number: each is one line that says what to remove.

Thirteen kinds of file, damaged in eight ways, read by the stage after it, in the trees of both
engines. What has no effect on what is read must have none on the result.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.study import Study
from videossl.job import UserError
from videossl.study import execution, graph, grouped, records
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
REPORT = instance("aggregate")
KINDS: dict[str, tuple[Instance, str, Instance]] = {  # file -> its stage, which one, who reads it
    "list": (PREPARE, "index.json", DECODE),
    "video": (PREPARE, "**/*.mp4", DECODE),
    "manifest": (DECODE, "manifest.json", SELECT),
    "shard": (DECODE, "*.lmdb", EMBED),
    "record": (DECODE, "stage.json", SELECT),
    "examples": (SELECT, "examples.csv", KNN),
    "classes": (SELECT, "examples.json", KNN),
    "encoder": (PRETRAIN, "encoder.safetensors", EMBED),
    "classifier": (FINETUNE, "classifier.safetensors", PREDICT),
    "features": (EMBED, "features.npy", KNN),
    "predictions": (KNN, "predictions.npz", REPORT),
    "metrics": (KNN, "metrics.json", REPORT),
    "curve": (PRETRAIN, "curve.tsv", REPORT),
}
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
ROWS = {"rspnet": "rho_moco"}


def _last_float(data: bytes) -> int:
    weights = data[8:9] == b"{"  # safetensors: a length, then JSON
    return len(data) - 4 if weights else len(data) // 2


def place(planned: Graph, tree: Path, node: Instance) -> Path:
    return tree / planned.path(node) if tree.name == "runs" else grouped.place(tree, node)


def exchanged(planned: Graph, tree: Path, node: Instance, path: Path) -> bytes:
    """The file of that name of another row's run; of a stage without rows any other file."""
    key = [ROWS.get(value, value) for _, value in node.key]
    other = place(planned, tree, instance(node.stage, *key))
    candidate = other / path.relative_to(place(planned, tree, node))
    if candidate != path:
        return candidate.read_bytes()
    others = [one for one in sorted(path.parent.rglob("*")) if one.is_file() and one != path]
    return others[0].read_bytes()


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


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["snakemake", "dvc"])
def test_damage_is_one_line_or_has_no_effect(tiny: Study, monkeypatch, engine):
    monkeypatch.chdir(tiny.root)
    planned = graph.load()
    tree = Path("runs" if engine == "snakemake" else "results")
    wrong, refused = [], 0
    for kind, (node, pattern, reader) in KINDS.items():
        folder = place(planned, tree, node)
        path = sorted(folder.glob(pattern))[0]
        data, other = path.read_bytes(), exchanged(planned, tree, node, path)
        inputs = {
            role: [place(planned, tree, needed) for needed in nodes]
            for role, nodes in planned.needs(reader).items()
        }
        for name, damage in DAMAGE.items():
            damaged = damage(data, other)
            assert damaged != data
            records._checked.clear()
            out = Path("out", kind)
            with replaced(path, damaged):
                try:
                    execution.execute(planned, reader, inputs, out)
                except UserError as error:
                    refused += 1
                    line = str(error)
                    if "\n" in line or str(path) not in line or f"remove {folder}" not in line:
                        wrong.append(f"{kind}, {name}: {line}")
                    if kind not in ("record", "shard") and str(node.stage) not in line:
                        wrong.append(f"{kind}, {name}: no stage: {line}")
                except Exception as error:
                    wrong.append(f"{kind}, {name}: {error!r}")
            if out.exists():
                whole = records.read(place(planned, tree, reader))["files"]
                if records.read(out)["files"] != whole:
                    wrong.append(f"{kind}, {name}: another result")
                shutil.rmtree(out)
    assert not wrong
    assert refused >= (len(KINDS) - 1) * len(DAMAGE)  # bits of a shard may be none that are read
