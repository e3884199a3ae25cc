"""Figures of what was measured again replace the old ones, and the others stay."""

from __future__ import annotations

import json

from support.benchmarks import load

figures_file = load("figures_file")


def test_results_are_merged_by_their_name(tmp_path):
    path = tmp_path / "new" / "figures.json"
    figures_file.merge(path, [{"film": "a", "s": 1}, {"film": "b", "s": 2}], "film")
    figures_file.merge(path, [{"film": "c", "s": 4}, {"film": "a", "s": 3}], "film")
    assert json.loads(path.read_text()) == [
        {"film": "a", "s": 3}, {"film": "b", "s": 2}, {"film": "c", "s": 4},
    ]  # fmt: skip
    figures_file.merge(None, [{"film": "a"}], "film")
    assert [path.name for path in tmp_path.rglob("*.json")] == ["figures.json"]
