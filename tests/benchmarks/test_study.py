"""What a study's results become in docs: means, deviations and gains, seed by seed."""

from __future__ import annotations

import pandas as pd

from support.benchmarks import load

study = load("study")


def frame() -> pd.DataFrame:
    lines = [
        ("synthetic", "linear", row, seed, value + 3 * seed * (row == "hdc"))
        for row, value in (("hdc", 50.0), ("scratch", 10.0))
        for seed in (1, 0)
    ]
    lines += [("shape", "linear", "hdc", 0, 99.0), ("synthetic", "knn", "scratch", 0, 7.0)]
    found = pd.DataFrame(lines, columns=["test", "protocol", "row", "seed", "value"])
    return found.assign(form="probe")


def test_values_are_those_of_one_test_in_the_order_of_seeds():
    assert study.values(frame(), "synthetic") == {
        "hdc": {"linear": [50.0, 53.0]},
        "scratch": {"linear": [10.0, 10.0], "knn": [7.0]},
    }


def test_a_cell_has_mean_deviation_and_points():
    assert study.cell([50.0, 53.0], [10.0, 11.0]) == "51.5 ± 2.1 (+41.0)"
    assert study.cell([50.0]) == "50.0"
