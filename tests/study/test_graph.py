"""The stage graph: needs, identity, and which code counts for whom."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from support.study import ROOT
from videossl.job import UserError
from videossl.study import code_digest, graph, params

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
    with pytest.raises(UserError, match="no pretrain/byol; it has: pretrain/rspnet"):
        GRAPH.find("pretrain", {"method": "byol"})


def readers_of(module: str) -> set[str]:
    return {str(node) for node in GRAPH.instances if module in GRAPH.code(node)}


def test_a_methods_file_is_the_code_of_its_own_pretrain_only():
    assert readers_of("videossl.methods.rspnet") == {"pretrain/rspnet"}
    assert readers_of("videossl.methods.rho_moco") == {"pretrain/rho_moco"}


def test_shared_files_are_the_code_of_who_imports_them():
    assert {"pretrain/rspnet", "pretrain/rho_moco"} <= readers_of("videossl.methods.losses")
    assert all(name.startswith("pretrain/") for name in readers_of("videossl.methods.losses"))
    assert "finetune/rspnet/synthetic" in readers_of("videossl.train.loop")
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
        assert {name for name in changed if name.startswith("pretrain")} == {"pretrain/rspnet"}


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
