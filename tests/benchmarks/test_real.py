"""The table on real video: means over seeds, and points over random weights seed by seed."""

from __future__ import annotations

from support.benchmarks import load
from videossl.study import overlay, params

real = load("real")


def test_points_are_over_random_weights_and_budgets_are_said():
    found = {
        "seeds": [0, 1],
        "splits": 1,
        "examples": {"train": 30, "test": 20},
        "classes": 4,
        "budgets": {"vtdl": [8, 16, 32]},
        "rows": {
            "vtdl": {"linear": [30.0, 40.0], "knn": [20.0, 20.0]},
            "scratch": {"linear": [10.0, 12.0], "knn": [5.0, 5.0]},
            "pixels": {"linear": [33.0], "knn": [22.0]},
        },
    }
    lines = real.table(found).splitlines()
    assert lines[0] == "| | epochs, frames, batch | linear probe | kNN |"
    assert lines[2] == "| random weights | – | 11.0 ± 1.4 | 5.0 ± 0.0 |"
    assert lines[3] == "| pixels | – | 33.0 | 22.0 |"
    assert lines[4] == "| VTDL | 8, 16, 32 | 35.0 ± 7.1 (+24.0) | 20.0 ± 0.0 (+15.0) |"
    assert "20 test videos in 4 classes (25.0 by chance); 30 training videos; seeds" in lines[-1]
    several = real.table({**found, "splits": 5}).splitlines()[-1]
    assert "30 training videos (of the first of 5 splits, over which all numbers are" in several


def test_a_budget_is_that_of_the_rows_entry():
    raw = params.read(real.study.ROOT / "params.yaml")
    overlay.merge(raw, params.read(real.study.ROOT / "configs/lips.yaml"))
    loaded = params.validate(raw, "lips")
    assert real._budget(loaded, "hdc") == [8, 8, 32]
    assert real._budget(loaded, "v3s") == [16, 4, 16]
