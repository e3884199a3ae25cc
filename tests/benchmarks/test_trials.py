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


@pytest.mark.parametrize("trial", trials.TRIALS, ids=lambda trial: trial.row)
def test_a_trial_is_a_study_of_its_row(planned, trial):
    study = planned(trial)
    assert list(study.params.methods) == [trial.row]
    assert {node.stage for node in study.instances} - {"motion", "pretrain"} == {
        *("prepare", "decode", "select", "initialize", "embed", "evaluate", "aggregate")
    }
    assert study.params.probe["lips"].features.layers == [-2, -1]
    found = study.params.methods[trial.row].model_dump()
    assert {key: found[key] for key in trial.own} == trial.own
    budget = study.params.pretrain[found["pretrain"]]
    assert budget.augment.jitter.brightness == {"strong": 0.8, "weak": 0.4}[trial.augment]
    said = (budget.clip.frames, budget.epochs, budget.batch_size)
    assert said == (trial.frames, trial.epochs, trial.batch)
    assert found["optimizer"] == trial.rate
    task = study.params.task[found["task"]]
    if trial.row.startswith("rho_"):
        assert task == 1
    for entry in trial.task.values():
        assert {key: getattr(task, key) for key in entry} == entry


def test_rates_are_those_of_the_optimizers():
    raw = {"optimizer": {"a": {"lr": 0.001}, "b": {"lr": 0.05}}}
    assert [trials.rate(trials.Trial("hdc", rate=name), raw) for name in "ab"] == ["1e-3", "5e-2"]


def test_without_a_trial_random_weights_are_left(planned):
    study = planned(None)
    assert study.rows == ["scratch"]


def test_settings_are_those_of_the_trial_alone(planned):
    """What configs/lips.yaml chose for a row does not enter a trial that does not say it."""
    plain = params.read(ROOT / "params.yaml")["methods"]["rspnet"]
    found = planned(trials.Trial("rspnet")).params.methods["rspnet"]
    assert (found.queue, found.speeds) == (plain["queue"], plain["speeds"])


def test_points_are_over_random_weights():
    own = {"row": "vtdl", "settings": ["weak", 8, 16, 32, "1e-3", "`queue` 64"]}
    own |= {"unseen": 11.0, "left out": 19.0}
    found = {"scratch": {"unseen": 10.0, "left out": 20.0}, "trials": [own]}
    lines = trials.table(found).splitlines()
    assert lines[2] == "| random weights | | | | | | | 10.0 | 20.0 |"
    assert (
        lines[3] == "| VTDL | weak | 8 | 16 | 32 | 1e-3 | `queue` 64 | 11.0 (+1.0) | 19.0 (-1.0) |"
    )
