"""Both engines plan what ``study/graph.py`` declares, and only that, whatever the study."""

from __future__ import annotations

import sys

import pytest

from support import engines
from support.study import ROOT, Study

# what a study may lose, gain or change in its shape
SHAPES = {
    "as it is": "",
    "a row less": "methods:\n  rspnet: null\n",
    "a variant": """
task:
  no_margin: 0.0
methods:
  rspnet_no_margin:
    method: rspnet
    task: no_margin
    data: synthetic
    motion: none
    backbone: small
    optimizer: adamw
    pretrain: short
""",
    "no motion is needed": "methods:\n  sts: null\n  modist: null\n",
    "seeds and splits": """
seeds: [0, 1]
finetune: {synthetic: {splits: [1, 2]}}
probe: {synthetic: {splits: [2, 3]}}
""",
    "a protocol less": "probe:\n  synthetic:\n    knn: null\n",
    "no protocol": "probe:\n  synthetic:\n"
    + "".join(f"    {name}: null\n" for name in ("linear", "attentive", "knn", "retrieval")),
    "no probe": "probe:\n  synthetic: null\n",
    "no fine-tuning": "finetune:\n  synthetic: null\n",
    "tests of moments": (ROOT / "configs/transfer.yaml").read_text(encoding="utf-8"),
    "no test": "finetune:\n  synthetic: null\nprobe:\n  synthetic: null\n",
    "no baseline": "baselines:\n  scratch: null\n",
    "two backbones": """
backbone:
  other: {name: c3d, width: 8, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
baselines:
  other_scratch: {weights: random, backbone: other}
methods:
  hdc: {backbone: other}
""",
}


def planned(study: Study) -> dict[str, engines.Node]:
    script = str(ROOT / "tests" / "support" / "planned_jobs.py")
    return engines.from_snakemake(study.run(sys.executable, script).stdout)


OFTEN = ("a variant", "seeds and splits")  # as they break first


@pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=[] if s in OFTEN else pytest.mark.slow) for s in SHAPES]
)
def test_both_engines_plan_the_graph(study, shape):
    if SHAPES[shape]:
        study.overlay(SHAPES[shape])
    graph = engines.load(study.root)
    assert engines.from_dvc(study.root, graph) == engines.declared_groups(graph)
    assert planned(study) == engines.declared(graph)


@pytest.mark.slow
def test_only_baselines_are_a_study(study):
    study.shrink([])
    graph = engines.load(study.root)
    assert engines.from_dvc(study.root, graph) == engines.declared_groups(graph)
    assert planned(study) == engines.declared(graph)


def test_the_cluster_profile_is_found_and_parses(study):
    done = study.run("snakemake", "-n", "--cores", "all", "--profile", "slurm")
    assert engines.would_run_snakemake(done.stdout) == set(
        engines.declared(engines.load(study.root))
    )
