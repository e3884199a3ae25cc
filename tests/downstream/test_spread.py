"""RankMe against the singular values of features that are made to have them."""

from __future__ import annotations

import numpy as np
import pytest

from videossl.downstream import spread


def with_spectrum(values: np.ndarray, rows: int, seed: int = 0) -> np.ndarray:
    """(rows, D) float32 of these singular values."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(rows, len(values))))
    right, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    return (left * values @ right).astype(np.float32)


def by_svd(x: np.ndarray) -> float:
    """The paper's formula, word for word, over NumPy's own singular values."""
    values = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    shares = values / np.abs(values).sum() + 1e-7
    return float(np.exp(-np.sum(shares * np.log(shares))))


@pytest.mark.parametrize(
    "values",
    [
        np.ones(24),
        np.r_[5.0, np.ones(23)],
        0.7 ** np.arange(24),
        np.r_[np.ones(6), np.zeros(18)],
        np.r_[1.0, np.full(23, 1e-6)],
    ],
)
@pytest.mark.parametrize("rows", [24, 300])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_it_is_the_papers_formula(values, rows, scale):
    x = with_spectrum(values * scale, rows)
    assert spread.rankme(x) == pytest.approx(by_svd(x), rel=1e-3)
    assert spread.rankme(x.T.copy()) == pytest.approx(by_svd(x), rel=1e-3)


def test_equal_values_count_their_directions_and_one_is_a_collapse():
    assert spread.rankme(with_spectrum(np.ones(32), 500)) == pytest.approx(32, rel=1e-3)
    halves = np.r_[np.ones(8), np.zeros(24)]
    assert spread.rankme(with_spectrum(halves, 500)) == pytest.approx(8, rel=1e-3)
    line = np.outer(np.random.default_rng(0).normal(size=500), np.ones(32)).astype(np.float32)
    assert spread.rankme(line) == pytest.approx(1, abs=1e-3)
    assert spread.rankme(np.ones((500, 32), np.float32)) == pytest.approx(1, abs=1e-3)
    assert spread.rankme(np.zeros((500, 32), np.float32)) == pytest.approx(1, abs=1e-3)


def test_isotropic_features_use_nearly_every_dimension():
    x = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    assert 15.9 < spread.rankme(x) <= 16.001


def test_a_shift_of_all_features_counts_as_the_paper_does_not_centre():
    x = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    assert spread.rankme(x + 50) < 3 < 15 < spread.rankme(x)


def test_blocks_change_nothing(monkeypatch):
    x = np.random.default_rng(0).normal(size=(97, 8)).astype(np.float32)
    whole = spread.rankme(x)
    monkeypatch.setattr(spread, "block_rows", lambda width: 10)
    assert spread.rankme(x) == pytest.approx(whole, rel=1e-9)


def test_of_many_examples_some_are_looked_at_evenly_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(spread, "MOST", 50)
    x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    x[250:, 1:] = 0  # both halves have to be seen
    np.save(tmp_path / "features.npy", x)
    found = spread.measure(tmp_path / "features.npy")
    assert found["rankme_examples"] == 50
    numbers = spread.chosen(500)
    assert (numbers[0], numbers[-1], len(numbers)) == (0, 499, 50)
    assert set(np.diff(numbers)) <= {10, 11}
    assert found["rankme"] == pytest.approx(by_svd(x[numbers]), rel=1e-3)
    np.save(tmp_path / "features.npy", x[:30])
    assert spread.measure(tmp_path / "features.npy")["rankme_examples"] == 30
