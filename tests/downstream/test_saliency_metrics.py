"""Saliency metrics by hand and against other computations, and what chance gives."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from videossl.downstream import saliency_metrics as metrics

P = np.array([[0.1, 0.2], [0.3, 0.4]])
Q = np.array([[0.0, 0.5], [0.25, 0.25]])
LOOKED = np.array([[False, True], [False, True]])
FLAT = np.full((24, 24), 1 / 576)


def maps(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p, q = (rng.random((7, 5)) ** 3 + 1e-3 for _ in range(2))  # far above eps
    looked = np.zeros(35, bool)
    looked[rng.choice(35, rng.integers(1, 6), replace=False)] = True
    return p / p.sum(), q / q.sum(), looked.reshape(7, 5)


def test_by_hand() -> None:
    kl = 0.5 * math.log(2.5) + 0.25 * math.log(0.25 / 0.3) + 0.25 * math.log(0.25 / 0.4)
    assert metrics.divergence(P, Q) == pytest.approx(kl, abs=1e-9)
    deviation = math.sqrt((0.15**2 + 0.05**2) * 2 / 4)
    assert metrics.scanpath_saliency(P, LOOKED) == pytest.approx(0.05 / deviation, abs=1e-9)
    # from 0, summing to 1: P becomes 0, 1/6, 2/6, 3/6
    assert metrics.similarity(P, Q) == pytest.approx(1 / 6 + 0.25 + 0.25, abs=1e-9)
    # thresholds 0.4 (no false alarm) and 0.2 (one of two): trapezoids of (0, .5), (.5, 1), (1, 1)
    assert metrics.judd_area(P, LOOKED) == pytest.approx(0.5 * 0.75 + 0.5, abs=1e-9)


@given(st.integers(0, 10**6))
def test_against_other_computations(seed: int) -> None:
    p, q, looked = maps(seed)
    assert metrics.divergence(p, q) == pytest.approx(stats.entropy(q.ravel(), p.ravel()), abs=1e-9)
    assert metrics.correlation(p, q) == pytest.approx(
        stats.pearsonr(p.ravel(), q.ravel()).statistic, abs=1e-9
    )
    z = stats.zscore(p, axis=None)
    assert metrics.scanpath_saliency(p, looked) == pytest.approx(z[looked].mean(), abs=1e-9)
    scaled = [(x - x.min()) / (x - x.min()).sum() for x in (p, q)]
    assert metrics.similarity(p, q) == pytest.approx(
        sum(min(a, b) for a, b in zip(*map(np.ravel, scaled), strict=True)), abs=1e-9
    )


def area(p: np.ndarray, looked: np.ndarray) -> float:
    """The facts' formula, threshold by threshold."""
    n, total = int(looked.sum()), looked.size
    points = [(0.0, 0.0)]
    for i, threshold in enumerate(sorted(p[looked], reverse=True), 1):
        points.append(((int((p >= threshold).sum()) - i) / (total - n), i / n))
    points.append((1.0, 1.0))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


@given(st.integers(0, 10**6))
def test_the_area_against_its_formula(seed: int) -> None:
    p, _, looked = maps(seed)
    assert metrics.judd_area(p, looked) == pytest.approx(area(p, looked), abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_area_of_few_points_is_above_a_half_by_chance(count: int) -> None:
    areas = []
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        looked = np.zeros(400, bool)
        looked[rng.choice(400, count, replace=False)] = True
        areas.append(metrics.judd_area(rng.random((20, 20)), looked.reshape(20, 20)))
    assert np.mean(areas) == pytest.approx((count + 2) / (2 * count + 2), abs=0.01)


@given(st.integers(0, 10**6))
def test_the_truth_is_the_best_prediction(seed: int) -> None:
    p, q, looked = maps(seed)
    assert metrics.divergence(q, q) == pytest.approx(0, abs=1e-9)
    assert metrics.divergence(p, q) >= 0
    assert metrics.correlation(q, q) == pytest.approx(1, abs=1e-9)
    assert metrics.similarity(q, q) == pytest.approx(1, abs=1e-9)
    assert metrics.judd_area(looked / looked.sum(), looked) == pytest.approx(1)


def test_a_constant_map_has_what_chance_gives() -> None:
    rng = np.random.default_rng(0)
    true = rng.random((24, 24))
    true /= true.sum()
    looked = rng.random((24, 24)) < 0.3
    assert metrics.scanpath_saliency(FLAT, looked) == 0
    assert metrics.correlation(FLAT, true) == 0
    assert metrics.judd_area(FLAT, looked) == pytest.approx(0.5, abs=0.07)
    assert metrics.judd_area(FLAT, looked) == metrics.judd_area(FLAT, looked)
    assert metrics.divergence(FLAT, true) == pytest.approx(
        math.log(576) - stats.entropy(true.ravel())
    )
    assert 0 < metrics.similarity(FLAT, true) < 1
    assert metrics.judd_area(P, np.ones((2, 2), bool)) == 0.5


def test_points_are_pixels() -> None:
    points = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.49], [0.51, 0.3], [np.nan, np.nan]])
    looked = metrics.pixels(points, 2, 4)
    assert np.argwhere(looked).tolist() == [[0, 0], [0, 2], [1, 3]]
