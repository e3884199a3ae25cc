"""The studies behind the table of spread differ in what their table says, and in nothing else."""

from __future__ import annotations

import shutil

import pytest

from support.benchmarks import load
from videossl.study import overlay, params

spread = load("spread")


@pytest.fixture
def studies(tmp_path):
    """Scenes -> the study's parameters, as a tree of plain values."""
    raw = params.read(spread.study.ROOT / "params.yaml")
    overlay.merge(raw, params.read(spread.OVERLAY))
    found = {}
    for scenes in spread.SCENES:
        target, change = tmp_path / f"{scenes}.yaml", tmp_path / "change.yaml"
        shutil.copy(spread.study.ROOT / "params.yaml", target)
        with change.open("w") as file:
            params.yaml().dump(spread.changed(raw, scenes, [4, 5]), file)
        for one in (spread.OVERLAY, change):
            overlay.configure(one, target)
        found[scenes] = params.load(target).model_dump()
    return found


def test_studies_differ_in_scenes_and_rows_alone(studies):
    one, other = studies["class"], studies["group"]
    assert one["data"]["synthetic"].pop("scenes") == "class"
    assert other["data"]["synthetic"].pop("scenes") == "group"
    assert one["data"] == other["data"]
    assert one["methods"]["hdc"] == other["methods"]["hdc"]
    assert one["pretrain"]["short"] == other["pretrain"]["short"]
    assert one["probe"] == other["probe"]
    assert not one["finetune"]
    assert set(one["methods"]) == {"hdc", "v3s", "v3s_longer", "v3s_time", "v3s_both"}
    assert set(other["methods"]) == {"hdc"}


def test_the_longer_row_differs_in_epochs_alone(studies):
    rows, budgets = (studies["class"][key] for key in ("methods", "pretrain"))
    short, longer = rows["v3s"], rows["v3s_longer"]
    assert (short.pop("pretrain"), longer.pop("pretrain")) == ("short", "longer")
    assert short == longer
    assert (budgets["short"].pop("epochs"), budgets["longer"].pop("epochs")) == (8, 16)
    assert budgets["short"] == budgets["longer"]


def test_the_row_of_time_alone_differs_in_weights_alone(studies):
    rows = studies["class"]["methods"]
    changed = {key for key in rows["v3s"] if rows["v3s"][key] != rows["v3s_time"][key]}
    assert changed == {"scale_weight", "projection_weight"}
    assert rows["v3s_time"]["scale_weight"] == rows["v3s_time"]["projection_weight"] == 0
    assert rows["v3s_both"] == {**rows["v3s_time"], "pretrain": "longer"}


def test_a_value_of_each_seed_then_mean_and_deviation():
    rows = {"hdc": [10.0, 20.0, 30.0], "v3s": [1.0, 2.0, 3.0], "v3s_longer": [4.0, 4.0, 4.0]}
    rows |= {"v3s_time": [5.0, 5.0, 5.0], "v3s_both": [7.0, 7.0, 7.0], "scratch": [8.0, 8.0, 8.0]}
    other = {"hdc": [5.0, 6.0, 7.0], "scratch": [9.0, 9.0, 9.0]}
    found = {"seeds": [0, 1, 2], "studies": {"class": rows, "group": other}}
    lines = spread.table(found).splitlines()
    assert lines[0] == "| | | seeds 0 / 1 / 2 | mean |"
    spreads = ["20.0 ± 10.0", "6.0 ± 1.0", "2.0 ± 1.0", *(f"{x}.0 ± 0.0" for x in (4, 5, 7, 8, 9))]
    assert [line.split(" | ")[-1] for line in lines[2:]] == [f"{text} |" for text in spreads]
    assert lines[2].startswith("| HDC | backgrounds shared by a group of one class | 10.0 / 20.0 /")
    assert lines[5].startswith("| V3S | 16 epochs | 4.0 / 4.0 / 4.0 |")
    assert lines[8].startswith("| random weights | backgrounds")
