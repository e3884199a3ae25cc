"""Which row is best beyond noise, against SciPy and plain loops."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from videossl.report.noise import Sample, applicable, judge, pool, wilson


def paired(values: object, by_seed: tuple[float, ...] = ()) -> Sample:
    found = np.asarray(values, np.float64)
    return Sample(by_seed or (float(found.mean()),), np.arange(len(found)), found)


@given(st.integers(0, 2000), st.floats(0.0, 0.3), st.integers(5, 400))
def test_paired_rule_against_scipy(seed: int, ahead: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    one = (rng.random(n) < 0.5 + ahead).astype(float)
    other = (rng.random(n) < 0.5).astype(float)
    samples = {"one": paired(one), "other": paired(other)}
    found = judge(samples, "high")
    assert found.rule == "examples"
    if (one == other).all():
        assert found.marks == {"one": "level", "other": "level"}
        return
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of equal differences: no spread at all
        # mean difference over its standard error
        statistic = stats.ttest_rel(one, other).statistic
    if abs(statistic) > 1.96:
        assert found.marks == {"one" if statistic > 0 else "other": "best"}
    else:
        assert found.marks == {"one": "level", "other": "level"}


@given(st.integers(0, 2000), st.floats(0, 3), st.integers(2, 6), st.integers(2, 6))
def test_seed_rule_against_scipy(seed: int, ahead: float, a: int, b: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(ahead, 1, a), rng.normal(0, 1, b)
    samples = {"one": Sample(tuple(one)), "other": Sample(tuple(other))}
    found = judge(samples, "high")
    assert found.rule == "seeds"
    statistic = stats.ttest_ind(one, other, equal_var=False).statistic
    if abs(statistic) > 1.96:
        assert found.marks == {"one" if statistic > 0 else "other": "best"}
    else:
        assert found.marks == {"one": "level", "other": "level"}


def test_few_examples_have_the_deviation_of_a_sample() -> None:
    """Differences 0, 1, 2: the mean is 1.73 standard errors of a sample, 2.12 of a population."""
    rows = {"a": paired([0.0, 1.0, 2.0]), "b": paired([0.0, 0.0, 0.0])}
    assert judge(rows, "high").marks == {"a": "level", "b": "level"}


def test_pairing_tells_apart_what_counts_alone_do_not() -> None:
    """60 and 50 of 100 right: the same ten more, or forty more and thirty less."""
    hits = np.arange(100)
    inside = {"a": paired(hits < 60), "b": paired(hits < 50)}
    apart = {"a": paired(hits < 60), "b": paired((hits >= 30) & (hits < 80))}
    assert judge(inside, "high").marks == {"a": "best"}
    assert judge(apart, "high").marks == {"a": "level", "b": "level"}


def test_of_many_rows_those_within_noise_of_the_best_are_level() -> None:
    rows = {"low": Sample((0.1, 0.12)), "near": Sample((0.78, 0.82)), "top": Sample((0.79, 0.83))}
    assert judge(rows, "high").marks == {"near": "level", "top": "level"}
    rows["near"] = Sample((0.5, 0.52))
    assert judge(rows, "high").marks == {"top": "best"}


def test_smaller_is_better_where_it_is_declared() -> None:
    rows = {"a": Sample((0.5, 0.51)), "b": Sample((0.1, 0.11)), "c": Sample((0.9, 0.91))}
    assert judge(rows, "low").marks == {"b": "best"}
    examples = {"a": paired([3.0, 4.0, 5.0]), "b": paired([1.0, 2.1, 3.0])}
    assert judge(examples, "low").marks == {"b": "best"}


def test_rules_step_down() -> None:
    pair = {"a": paired([1, 0, 1], (0.6, 0.7)), "b": paired([0, 0, 1], (0.3, 0.4))}
    assert applicable(pair) == "examples"
    pair["b"] = Sample((0.3, 0.4), np.array([0, 1, 9]), np.zeros(3))  # other examples
    assert applicable(pair) == "seeds"
    pair["b"] = Sample((0.3, 0.4))
    assert applicable(pair) == "seeds"
    pair["b"] = Sample((0.3,))
    assert applicable(pair) == "largest"
    single = {"a": paired([1]), "b": paired([0])}  # of one example there is no deviation
    assert applicable(single) == "largest"


def test_without_noise_known_all_with_the_largest_number_are_best() -> None:
    rows = {"a": Sample((0.5,)), "b": Sample((0.7,)), "c": Sample((0.7,))}
    found = judge(rows, "high")
    assert (found.rule, found.marks) == ("largest", {"b": "best", "c": "best"})
    assert judge(rows, "low").marks == {"a": "best"}


def test_a_row_alone_has_no_mark() -> None:
    assert judge({"a": Sample((0.5,))}, "high").marks == {}
    assert judge({}, "high").marks == {}


def test_equal_seeds_are_told_apart_by_any_difference() -> None:
    rows = {"a": Sample((0.5, 0.5)), "b": Sample((0.6, 0.6))}
    assert judge(rows, "high").marks == {"b": "best"}


@given(st.integers(0, 500), st.integers(1, 5))
def test_pool_against_a_loop(seed: int, runs: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = [rng.permutation(30)[: rng.integers(1, 30)] for _ in range(runs)]
    values = [rng.random(len(some)).astype(np.float32) for some in numbers]
    examples, means = pool(numbers, values)
    by_example: dict[int, list[float]] = {}
    for some, own in zip(numbers, values, strict=True):
        for number, value in zip(some.tolist(), own.tolist(), strict=True):
            by_example.setdefault(number, []).append(value)
    assert examples.tolist() == sorted(by_example)
    assert means == pytest.approx([np.mean(by_example[n]) for n in sorted(by_example)])


def test_sd_is_that_of_a_sample() -> None:
    assert Sample((0.1, 0.2, 0.6)).sd == pytest.approx(stats.tstd([0.1, 0.2, 0.6]))
    assert Sample((0.1,)).sd is None


def test_wilson_known_value() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263.
    low, high = wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_holds_the_share_within_bounds(n: int, share: float) -> None:
    low, high = wilson(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
