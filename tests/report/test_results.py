"""What a row's results in a column are: by seed, and by example where all are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videossl.report import kept, results
from videossl.report.results import Evaluation


def evaluation(
    folder: Path, seed: int, split: int, right: list[float], first: int, stored: bool = True
) -> Evaluation:
    """A test of examples from ``first`` on."""
    path = folder / f"{seed}-{split}"
    path.mkdir()
    values = np.array(right, np.float32)
    if stored:
        numbers = first + np.arange(len(values))
        arrays = {"examples": numbers, "value.top1": values}
        np.savez(path / results.PREDICTIONS, **arrays)
    share = float(values.mean())
    return Evaluation("r", "probe", "t", "linear", seed, split, len(values), {"top1": share}, path)


def test_seeds_are_means_over_splits_and_examples_means_over_both(tmp_path):
    found = [
        evaluation(tmp_path, 0, 1, [1, 0], 4),
        evaluation(tmp_path, 0, 2, [1, 1, 0, 0], 5),  # example 5 is in both splits
        evaluation(tmp_path, 1, 1, [0, 0], 4),
        evaluation(tmp_path, 1, 2, [1, 0, 0, 0], 5),
    ]
    sample, count = results.sample(found, "top1")
    assert sample.by_seed == (0.5, 0.125)
    assert sample.mean == pytest.approx(0.3125)
    assert sample.examples is not None
    assert sample.by_example is not None
    assert sample.examples.tolist() == [4, 5, 6, 7, 8]
    assert sample.by_example.tolist() == [0.5, 0.5, 0.5, 0, 0]
    assert count == 5


def test_where_a_seed_has_no_predictions_examples_are_not_known(tmp_path):
    found = [
        evaluation(tmp_path, 0, 1, [1, 0], 4),
        evaluation(tmp_path, 0, 2, [1, 1, 0, 0], 5),
        evaluation(tmp_path, 1, 1, [0, 0], 4, stored=False),
        evaluation(tmp_path, 1, 2, [1, 0, 0, 0], 5),
    ]
    sample, count = results.sample(found, "top1")
    assert sample.by_seed == (0.5, 0.125)
    assert sample.examples is None
    assert sample.by_example is None
    assert count == 6  # of both splits; nobody knows which are in both


def test_what_is_kept_for_comparisons_is_over_all_seeds_and_splits(tmp_path):
    found = [
        evaluation(tmp_path, 1, 1, [0, 0], 4),
        evaluation(tmp_path, 0, 2, [1, 1, 0, 0], 5),
        evaluation(tmp_path, 0, 1, [1, 0], 4),
    ]
    kept.write([], found, tmp_path)
    with np.load(tmp_path / kept.EXAMPLES) as stored:
        (name,) = stored.files
        assert name == "r/probe/t/linear/top1"
        third = pytest.approx(1 / 3)
        assert stored[name].tolist() == [[4, 5, 6, 7, 8], [0.5, third, 1, 0, 0]]
