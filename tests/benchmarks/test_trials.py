"""The trials on lips are what their table says: a row of the study, and nothing else changes."""

from __future__ import annotations

import shutil

import pytest

from support.benchmarks import load
from videossl.study import graph, overlay, params

trials = load("trials")
ROOT = trials.study.ROOT


@pytest.fixture
def planned(tmp_path):
    """The study of a trial, as ``study.run`` would run it."""
    raw = params.read(ROOT / "params.yaml")
    overlay.merge(raw, params.read(trials.OVERLAY))
    (tmp_path / "videos.csv").write_text("path,label,split\n")

    def plan(trial):
        target, change = tmp_path / "params.yaml", tmp_path / "change.yaml"
        shutil.copy(ROOT / "params.yaml", target)
        overlay.configure(trials.OVERLAY, target)
        for one in trials.changes(trial, raw, tmp_path / "videos.csv"):
            with change.open("w") as file:
                params.yaml().dump(one, file)
            overlay.configure(change, target)
        return graph.load(target)

    return plan


@pytest.mark.parametrize("trial", trials.TRIALS, ids=lambda trial: f"{trial[0]} {trial[1]}")
def test_a_trial_is_a_study_of_its_row(planned, trial):
    study = planned(trial)
    row, change, own, clip = trial
    rows = [] if row == trials.SCRATCH else [row]
    assert list(study.params.methods) == rows
    assert {node.stage for node in study.instances} - {"motion", "pretrain"} == {
        *("prepare", "decode", "select", "initialize", "embed", "evaluate", "aggregate")
    }
    assert study.params.probe["lips"].features.layers == [-2, -1]
    for name in rows:
        found = study.params.methods[name].model_dump()
        assert {key: found[key] for key in own} == own
        budget = study.params.pretrain[found["pretrain"]]
        assert budget.augment.jitter.brightness == 0.8
        assert budget.clip.frames == clip.get("frames", 8)
        assert ("ρ 1" in change) == name.startswith("rho_")
        if name.startswith("rho_"):
            assert study.params.task[found["task"]] == 1
        if "rate 1e-3" in change:
            assert study.params.optimizer[found["optimizer"]].lr == pytest.approx(1e-3)


def test_points_are_over_random_weights():
    base = {"row": "scratch", "change": "", "last": [10.0, 20.0], "two": [30.0, 40.0], "study": 5.0}
    own = {"row": "vtdl", "change": "x", "last": [11.0, 19.0], "two": [33.0, 40.0], "study": 9.0}
    lines = trials.table({"trials": [base, own]}).splitlines()
    assert lines[2] == "| random weights |  | 10.0 | 20.0 | 5.0 | 30.0 | 40.0 |"
    expected = "11.0 (+1.0) | 19.0 (-1.0) | 9.0 (+4.0) | 33.0 (+3.0) | 40.0 (+0.0)"
    assert lines[3] == f"| VTDL | x | {expected} |"
