"""Both engines plan what ``stages.py`` declares, and only that."""

from __future__ import annotations

import sys

from support import engines
from support.study import ROOT, Study


def planned(study: Study) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    script = str(ROOT / "tests" / "support" / "planned_jobs.py")
    return engines.from_snakemake(study.run(sys.executable, script).stdout)


def test_dvc_declares_the_graph(study):
    graph = engines.load(study.root)
    assert engines.from_dvc(study.root, graph) == engines.declared(graph)


def test_snakemake_plans_the_graph(study):
    graph = engines.load(study.root)
    assert planned(study) == {
        name: (node.leaves, node.needs) for name, node in engines.declared(graph).items()
    }


def test_removing_a_method_removes_its_stages_in_both_engines(study):
    study.overlay("methods:\n  rspnet: null\n")
    graph = engines.load(study.root)
    assert not [node for node in graph.instances if "rspnet" in str(node)]
    assert engines.from_dvc(study.root, graph) == engines.declared(graph)
    assert set(planned(study)) == set(engines.declared(graph))


def test_the_cluster_profile_is_found_and_parses(study):
    done = study.run("snakemake", "-n", "--cores", "all", "--profile", "slurm")
    assert engines.would_run_snakemake(done.stdout) == set(
        engines.declared(engines.load(study.root))
    )


def test_lint_is_clean(study):
    assert "Congratulations" in study.run("snakemake", "--lint").stderr
