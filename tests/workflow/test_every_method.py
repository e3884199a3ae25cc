"""Every method runs in both engines, with equal results, and leaves no stage when it is removed."""

from __future__ import annotations

import copy

import pytest

from support.study import ROOT
from videossl.study import params
from videossl.study.graph import Graph
from videossl.study.registry import METHODS

RAW = params.read(ROOT / "params.yaml")


def test_the_study_holds_every_method():
    assert set(RAW["methods"]) == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_removing_a_method_removes_its_stages(name):
    whole = Graph(params.validate(RAW, "params.yaml"), RAW)
    raw = copy.deepcopy(RAW)
    del raw["methods"][name]
    left = Graph(params.validate(raw, "params.yaml"), raw)
    gone = set(whole.instances) - set(left.instances)
    assert gone
    motion = RAW["methods"][name]["motion"]
    assert all({name, motion} & set(dict(node.key).values()) for node in gone)
    assert not set(left.instances) - set(whole.instances)
    for node in left.instances:
        if node.stage != "aggregate":
            assert left.fingerprint(node) == whole.fingerprint(node)


@pytest.mark.slow
def test_every_method_learns_the_same_weights_in_both_engines(study, preloaded):
    study.shrink(METHODS)
    study.commit("tiny")
    with study.preloaded(preloaded):
        study.run("snakemake", "--cores", "2", "--until", "pretrain")
    study.run("dvc", "repro", *(f"pretrain@{name}" for name in METHODS))
    for name in METHODS:
        (made,) = (study.root / "runs/pretrain" / name / "seed-0").iterdir()
        other = study.root / "results/pretrain" / name / "seed-0"
        for file in ("encoder.safetensors", "batch.npz"):
            assert (made / file).read_bytes() == (other / file).read_bytes(), (name, file)
