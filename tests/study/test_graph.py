"""The stage graph: needs, identity, and which code counts for whom."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys

import pytest

from support.study import ROOT
from videossl.job import UserError
from videossl.study import code_digest, graph, grouped, params
from videossl.study.graph import Graph

GRAPH = graph.load(ROOT / "params.yaml")


def test_each_instance_comes_after_those_it_needs():
    seen = set()
    for node in GRAPH.instances:
        for nodes in GRAPH.needs(node).values():
            assert set(nodes) <= seen
        seen.add(node)
    assert len(seen) == len(GRAPH.instances)


def test_fingerprints_differ():
    prints = [GRAPH.fingerprint(node) for node in GRAPH.instances]
    assert len(set(prints)) == len(prints)


def test_an_unknown_instance_is_named():
    with pytest.raises(UserError, match="no pretrain/byol/seed-0; it has: pretrain/rspnet/seed-0"):
        GRAPH.find("pretrain", {"row": "byol", "seed": "0"})


def readers_of(module: str) -> set[str]:
    return {str(node) for node in GRAPH.instances if module in GRAPH.code(node)}


def test_a_methods_file_is_the_code_of_its_own_pretrain_only():
    assert readers_of("videossl.methods.rspnet") == {"pretrain/rspnet/seed-0"}
    assert readers_of("videossl.methods.rho_moco") == {"pretrain/rho_moco/seed-0"}


def test_shared_files_are_the_code_of_who_imports_them():
    losses = readers_of("videossl.methods.losses")
    assert {"pretrain/rspnet/seed-0", "pretrain/rho_moco/seed-0"} <= losses
    assert all(name.startswith("pretrain/") for name in losses)
    assert "finetune/rspnet/synthetic/seed-0/split-1" in readers_of("videossl.train.loop")
    assert "prepare/synthetic" not in readers_of("videossl.train.loop")


def test_what_only_decides_what_runs_is_nobodys_code():
    for module in code_digest.ENGINE:
        assert readers_of(module) == set()


def test_the_reports_files_are_aggregates_only():
    assert readers_of("videossl.report.aggregate") == {"aggregate"}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("\n# a comment\n", False),
        ('\n\ndef f():\n    """Docstring."""\n', True),
        ("", False),
    ],
)
def test_comments_change_no_fingerprint(tmp_path, text, changes):
    before = fingerprints(tmp_path / "a", "")
    after = fingerprints(tmp_path / "b", text)
    changed = {name for name in before if before[name] != after[name]}
    assert bool(changed) == changes
    if changes:
        assert {name for name in changed if name.startswith("pretrain")} == {
            "pretrain/rspnet/seed-0"
        }


def fingerprints(folder, text: str) -> dict[str, str]:
    """Of all instances, with ``text`` appended to methods/rspnet.py."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    with (folder / "src/videossl/methods/rspnet.py").open("a") as file:
        file.write(text)
    # the command runs the code of the folder it is in
    command = [sys.executable, "-m", "videossl", "check"]
    out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return {name: value for value, name in (line.split() for line in out.splitlines())}


def test_leaves_cover_every_key_someone_reads():
    read = {leaf for node in GRAPH.instances for leaf in GRAPH.leaves(node)}
    assert read == set(params.leaves(params.read(ROOT / "params.yaml")))


def test_a_seed_and_a_split_are_no_ones_but_their_own():
    """Adding one changes no fingerprint but the report's."""
    raw = params.read(ROOT / "params.yaml")
    raw["seeds"] = [0, 2]
    raw["finetune"]["synthetic"]["splits"] = [1, 2]
    more = Graph(params.validate(raw, "params.yaml"), raw)
    assert set(GRAPH.instances) < set(more.instances)
    for node in GRAPH.instances:
        if node.stage != "aggregate":
            assert more.fingerprint(node) == GRAPH.fingerprint(node)
    new = set(more.instances) - set(GRAPH.instances)
    assert all("seed-2" in str(node) or "split-2" in str(node) for node in new)


def test_an_overridden_key_of_its_method_is_not_a_variants():
    raw = params.read(ROOT / "params.yaml")
    base = raw["methods"]["rspnet"]
    names = ("task", "data", "motion", "backbone", "optimizer", "pretrain")
    raw["methods"]["short_queue"] = {
        "method": "rspnet",
        "queue": 64,
        **{name: base[name] for name in names},
    }
    graph = Graph(params.validate(raw, "params.yaml"), raw)
    leaves = graph.leaves(graph.find("pretrain", {"row": "short_queue", "seed": "0"}))
    assert leaves["methods.short_queue.queue"] == 64
    assert leaves["methods.rspnet.temperature"] == base["temperature"]
    assert "methods.rspnet.queue" not in leaves
    assert "methods.rspnet.task" not in leaves


def test_the_content_of_a_weights_file_is_in_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = params.read(ROOT / "params.yaml")
    weights = tmp_path / "w.safetensors"
    raw["baselines"]["scratch"]["weights"] = str(weights)
    prints = []
    for content in (b"one", b"two", b"one"):
        weights.write_bytes(content)
        graph = Graph(params.validate(raw, "params.yaml"), raw)
        prints.append(graph.fingerprint(graph.find("initialize", {"row": "scratch", "seed": "0"})))
    assert prints[0] == prints[2] != prints[1]


def test_the_order_of_rows_and_tests_is_read_by_the_report_alone(tmp_path, monkeypatch):
    """DVC compares values, which say nothing of an order: its plan does."""
    monkeypatch.chdir(tmp_path)

    def plan(raw: params.Raw) -> dict[str, str]:
        grouped.write_plan(Graph(params.validate(raw, "params.yaml"), raw), tmp_path)
        files = sorted((tmp_path / "plan").rglob("*"))
        return {str(f.relative_to(tmp_path)): f.read_text() for f in files if f.is_file()}

    raw = params.read(ROOT / "params.yaml")
    before = plan(raw)
    swapped = copy.deepcopy(raw)
    swapped["methods"] = dict(reversed(swapped["methods"].items()))
    after = plan(swapped)
    assert {name for name in before if before[name] != after[name]} == {"plan/aggregate"}
    assert sorted(before["plan/aggregate"].split("\n")) == sorted(
        after["plan/aggregate"].split("\n")
    )
    assert before == plan(raw)


@pytest.mark.parametrize("solver", ["lbfgs", "batched"])
def test_evaluate_takes_a_gpu_where_its_protocol_computes_on_one(solver):
    raw = params.read(ROOT / "params.yaml")
    raw["probe"]["synthetic"]["linear"]["solver"] = solver
    found = Graph(params.validate(raw, "params.yaml"), raw)
    taken = {
        dict(node.key)["protocol"]: found.gpus(node)
        for node in found.instances
        if node.stage == "evaluate" and dict(node.key)["test"] != "shape"
    }
    free = {"knn": 0, "retrieval": 0, "similarity": 0}
    assert taken == {"linear": int(solver == "batched"), "attentive": 1, **free}
