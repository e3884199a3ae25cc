"""Changing one leaf of params.yaml would rerun exactly what declares it, in both engines."""

from __future__ import annotations

import io
from typing import Any

import pytest

import engines
from study import ROOT
from videossl import params

RAW = params.read(ROOT / "params.yaml")
LEAVES = sorted(params.leaves(RAW))
# values that no rule of thumb gives
OTHER = {
    "clip.size": 24,
    "data.synthetic.size": 48,
    "decode.short_side": 16,
    "evaluate.finetuned.recognition.topk": [1],
    "evaluate.frozen.retrieval.topk": [1, 2],
    "finetune.augment.crop_area": [0.3, 0.9],
    "finetune.augment.crop_aspect": [0.9, 1.1],
    "methods.rspnet.speeds": [2, 1],
    "model.blocks": [1, 1, 1, 2],
    "pretrain.augment.crop_area": [0.3, 0.9],
    "pretrain.augment.crop_aspect": [0.9, 1.1],
}
CHOICES = {
    "baselines.scratch.weights": "other.safetensors",
    "decode.backend": "pyav",
    "decode.fps": 12.5,
    "decode.codec": "raw",
    "embed.pool": "max",
    "finetune.optimizer.name": "sgd",
    "finetune.precision": "bfloat16",
    "methods.rho_moco.mode": "parallel",
    "methods.rho_moco.momentum_schedule": "constant",
    "methods.rho_moco.optimizer.name": "sgd",
    "methods.rho_moco.positives": "mean_of_losses",
    "methods.rspnet.optimizer.name": "sgd",
    "model.name": "r2plus1d",
    "pretrain.compile": True,
    "pretrain.precision": "bfloat16",
    "pretrain.sync_bn": False,
    "report.baseline": "rspnet",
    "report.title": "Another title",
}
CHOICES |= {
    f"{owner}.optimizer.{name}": value
    for owner in ("finetune", "methods.rho_moco", "methods.rspnet")
    for name, value in (("decay_norms", True), ("lr_base_size", 256))
}
# one value is possible, so another is an error instead
FIXED = {
    "data.synthetic.format",
    "evaluate.datasets",
    "methods.rho_moco.motion",
    "methods.rho_moco.task",
    "methods.rspnet.motion",
    "methods.rspnet.task",
    "pretrain.dataset",
}


def other(leaf: str, value: Any) -> Any:
    """Another possible value of a leaf."""
    if leaf in OTHER | CHOICES:
        return (OTHER | CHOICES)[leaf]
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 0.7 * value + 0.011
    return [0.2, 1.0]  # blur.sigma


def put(raw: Any, leaf: str, value: Any) -> None:
    *parents, last = leaf.split(".")
    for parent in parents:
        raw = raw[parent]
    assert raw[last] != value
    raw[last] = value


def mutate(study: Any, leaf: str) -> None:
    """Write params.yaml with another value at ``leaf``."""
    path = study.root / "params.yaml"
    document = params.yaml().load(path.read_text())
    put(document, leaf, other(leaf, params.leaves(document)[leaf]))
    text = io.StringIO()
    params.yaml().dump(document, text)
    path.write_text(text.getvalue())


@pytest.fixture
def restored(tiny):
    """The tiny study; params.yaml is put back after the test."""
    path = tiny.root / "params.yaml"
    before = path.read_text()
    yield tiny
    path.write_text(before)


@pytest.mark.parametrize("leaf", sorted(set(LEAVES) - FIXED))
def test_a_leaf_touches_what_declares_it(restored, leaf):
    graph = engines.load(restored.root)
    fingerprints = {str(node): graph.fingerprint(node) for node in graph.instances}
    mutate(restored, leaf)
    changed = engines.load(restored.root)
    now = {str(node): changed.fingerprint(node) for node in changed.instances}

    touched = {name for name in now if now[name] != fingerprints[name]}
    assert touched == engines.affected(graph, leaf)
    assert engines.readers(graph, leaf), f"nothing reads {leaf}"


@pytest.mark.parametrize("leaf", sorted(set(LEAVES) - FIXED))
@pytest.mark.slow
def test_both_engines_would_rerun_what_declares_a_leaf(restored, leaf):
    graph = engines.load(restored.root)
    mutate(restored, leaf)
    planned = restored.run("snakemake", "-n", "--cores", "2").stdout
    assert engines.would_run_snakemake(planned) == engines.affected(graph, leaf)

    status = restored.run("dvc", "status", "--json").stdout
    assert engines.changed_dvc(status, graph) == engines.readers(graph, leaf)


@pytest.mark.parametrize("leaf", sorted(FIXED))
def test_a_leaf_with_one_possible_value_is_refused_otherwise(leaf):
    raw = params.parse((ROOT / "params.yaml").read_text(), "params.yaml")
    put(raw, leaf, "something else")
    with pytest.raises(params.UserError, match=leaf.replace(".", r"\.")):
        params.validate(raw, "params.yaml")
