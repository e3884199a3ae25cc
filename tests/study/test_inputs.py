"""A stage reads the outputs that it needs, of the parameters that are declared, and no others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from videossl.job import UserError
from videossl.study import execution, graph, records
from videossl.study.graph import Graph
from videossl.study.stages import Instance, instance

ROOT = Path(__file__).resolve().parents[2]
NODE = instance("embed", "rspnet", "synthetic", "0")
ENCODER = instance("pretrain", "rspnet", "0")


@pytest.fixture(scope="module")
def planned() -> Graph:
    return graph.load(ROOT / "params.yaml")


def written(planned: Graph, node: Instance, folder: Path, **changed: object) -> Path:
    """An output as ``node`` would leave it, with a record of which ``changed`` differs."""
    folder.mkdir(parents=True)
    (folder / "file").write_text("bytes")
    record = {
        **{"stage": node.stage, "key": dict(node.key)},
        **{"fingerprint": planned.fingerprint(node), "params": planned.leaves(node)},
        **{"files": records.digests(folder), **changed},
    }
    records.write(record, folder)
    return folder


@pytest.fixture
def inputs(planned, tmp_path):
    return {
        role: [written(planned, needed, tmp_path / role / str(n)) for n, needed in enumerate(nodes)]
        for role, nodes in planned.needs(NODE).items()
    }


def other_encoder(planned: Graph, inputs: dict, folder: Path, **changed: object) -> None:
    inputs["weights"] = [written(planned, ENCODER, folder, **changed)]


def test_what_is_needed_passes(planned, inputs):
    execution._check_inputs(planned, NODE, inputs, exact=True)


def test_the_output_of_another_row_is_refused(planned, inputs, tmp_path):
    inputs["weights"] = [written(planned, instance("pretrain", "vtdl", "0"), tmp_path / "o")]
    with pytest.raises(UserError, match=r"is the output of pretrain/vtdl/0, but embed/rspnet"):
        execution._check_inputs(planned, NODE, inputs, exact=False)


def test_the_output_of_another_stage_is_refused(planned, inputs):
    inputs["weights"], inputs["shards"] = inputs["shards"], inputs["weights"]
    with pytest.raises(UserError, match="is the output of"):
        execution._check_inputs(planned, NODE, inputs, exact=False)


@pytest.mark.parametrize("exact", [True, False])
def test_an_output_of_other_parameters_is_refused(planned, inputs, tmp_path, exact):
    leaves = {**planned.leaves(ENCODER), "task.margin": 0.0}
    assert leaves != planned.leaves(ENCODER)
    other_encoder(planned, inputs, tmp_path / "o", params=leaves)
    with pytest.raises(UserError, match="with other parameters or other code"):
        execution._check_inputs(planned, NODE, inputs, exact=exact)


def test_an_older_fingerprint_is_refused_where_it_was_planned(planned, inputs, tmp_path):
    other_encoder(planned, inputs, tmp_path / "o", fingerprint="0" * 12)
    execution._check_inputs(planned, NODE, inputs, exact=False)  # the same bytes, says DVC
    with pytest.raises(UserError, match="with other parameters or other code"):
        execution._check_inputs(planned, NODE, inputs, exact=True)


def test_as_many_as_are_needed(planned, inputs):
    inputs["weights"] = []
    with pytest.raises(UserError, match="takes 1 folders as weights, got 0"):
        execution._check_inputs(planned, NODE, inputs, exact=False)


def test_damage_is_refused(planned, inputs):
    (inputs["weights"][0] / "file").write_text("bytez")
    with pytest.raises(UserError, match="damaged"):
        execution._check_inputs(planned, NODE, inputs, exact=False)


def test_the_report_looks_at_the_size_of_arrays_that_it_does_not_read(planned, tmp_path):
    report = instance("aggregate")
    given = {
        role: [written(planned, one, tmp_path / role / str(n)) for n, one in enumerate(nodes)]
        for role, nodes in planned.needs(report).items()
    }
    for role in ("features", "evaluations"):
        folder = given[role][0]
        (folder / "x.npy").write_bytes(bytes(100))
        records.write({**records.read(folder), "files": records.digests(folder)}, folder)
    (given["features"][0] / "x.npy").write_bytes(b"1" * 100)
    execution._check_inputs(planned, report, given, exact=True)
    (given["features"][0] / "x.npy").write_bytes(bytes(99))
    with pytest.raises(UserError, match=r"x.npy: damaged \(99 bytes instead of 100\)"):
        execution._check_inputs(planned, report, given, exact=True)
    (given["features"][0] / "x.npy").write_bytes(bytes(100))
    (given["evaluations"][0] / "x.npy").write_bytes(b"1" * 100)
    with pytest.raises(UserError, match="damaged"):
        execution._check_inputs(planned, report, given, exact=True)


def test_threads_are_set_before_anything_that_computes_is_imported(planned, monkeypatch, tmp_path):
    order = []
    monkeypatch.setattr(execution.machine, "compute_in_one_thread", lambda: order.append("threads"))
    stage = SimpleNamespace(run=lambda job, params: order.append("run"))

    def module(name: str) -> SimpleNamespace:
        order.append("import")
        return stage

    monkeypatch.setattr(execution.importlib, "import_module", module)
    execution._run(planned, NODE, {}, tmp_path, threads=8)
    assert order[:2] == ["threads", "import"]
    assert order[-1] == "run"
