"""Which row of a column is the best beyond noise, and by which rule that is said.

Two rows are told apart by the first of these rules that all rows of the column allow:

``examples``
    Every row has a value for each of the same test examples. Of each example the difference of two
    rows is taken, which is free of how hard the example is; the better row is better beyond noise
    if the mean difference exceeds 1.96 of its standard errors (a paired z-test, 5 % two-sided).
    An example's value is first averaged over seeds and splits.
``seeds``
    Every row has at least two seeds: the difference of the means over seeds exceeds 1.96 times
    ``sqrt(sd_a ** 2 / n_a + sd_b ** 2 / n_b)`` (Welch, Biometrika 34, 1947, with the normal's
    quantile in place of his).
``largest``
    Nothing is known about noise: what is best is only the best number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Z = 1.96
Rule = Literal["examples", "seeds", "largest"]
Mark = Literal["best", "level"]


@dataclass(frozen=True, eq=False)
class Sample:
    """The results of one row in one column.

    Attributes:
        by_seed: mean over splits, of each seed.
        examples: (N,) int64 numbers of the test examples, ascending; ``None`` without predictions.
        by_example: (N,) float64 mean over seeds and splits, of each example.
    """

    by_seed: tuple[float, ...]
    examples: NDArray[np.int64] | None = None
    by_example: NDArray[np.float64] | None = None

    @property
    def mean(self) -> float:
        """Mean over seeds of the mean over splits."""
        return math.fsum(self.by_seed) / len(self.by_seed)

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds; ``None`` with one seed."""
        if len(self.by_seed) < 2:
            return None
        return float(np.std(self.by_seed, ddof=1))


def pool(
    numbers: Sequence[NDArray[np.integer[Any]]], values: Sequence[NDArray[np.floating[Any]]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Average the values of each example over seeds and splits.

    Args:
        numbers: of each seed and split, (n,) numbers of its test examples.
        values: of each seed and split, (n,) values of these examples.

    Returns:
        The distinct numbers, ascending, and the mean value of each.
    """
    examples, where = np.unique(np.concatenate(numbers), return_inverse=True)
    total = np.bincount(where, np.concatenate(values).astype(np.float64), len(examples))
    return examples.astype(np.int64), total / np.bincount(where, minlength=len(examples))


@dataclass(frozen=True)
class Verdict:
    """Who is best in a column: one row beyond noise, or the rows that are level with the best."""

    rule: Rule
    marks: Mapping[str, Mark]  # row -> its mark; no other row has one


def judge(samples: Mapping[str, Sample], better: Literal["high", "low"]) -> Verdict:
    """Compare the row with the best mean with every other.

    A row is ``best`` if it is better than all others beyond noise; by the rule ``largest``, all
    rows with the best value are. Else it and the rows within noise of it are ``level``. A row that
    is alone has no mark.
    """
    rule = applicable(samples)
    if len(samples) < 2:
        return Verdict(rule, {})
    sign = 1 if better == "high" else -1
    top = max(samples, key=lambda row: sign * samples[row].mean)
    if rule == "largest":
        value = samples[top].mean
        return Verdict(rule, {row: "best" for row, one in samples.items() if one.mean == value})
    within = [
        row
        for row, sample in samples.items()
        if row != top and not _beyond(samples[top], sample, sign, rule)
    ]
    if not within:
        return Verdict(rule, {top: "best"})
    return Verdict(rule, {row: "level" for row in samples if row == top or row in within})


def applicable(samples: Mapping[str, Sample]) -> Rule:
    """The first rule that all rows allow."""
    all_examples = [sample.examples for sample in samples.values()]
    first = all_examples[0] if all_examples else None
    if first is not None and len(first) > 1:
        same = (one is not None and np.array_equal(one, first) for one in all_examples)
        if all(same):
            return "examples"
    if samples and all(len(sample.by_seed) > 1 for sample in samples.values()):
        return "seeds"
    return "largest"


def _beyond(one: Sample, other: Sample, sign: int, rule: Rule) -> bool:
    """Whether ``one`` is better than ``other`` beyond noise."""
    if rule == "examples":
        assert one.by_example is not None
        assert other.by_example is not None
        differences = sign * (one.by_example - other.by_example)
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        return float(differences.mean()) > Z * error
    variances = [(sample.sd or 0.0) ** 2 / len(sample.by_seed) for sample in (one, other)]
    return sign * (one.mean - other.mean) > Z * math.sqrt(sum(variances))


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % score interval of a share out of ``n`` independent trials (Wilson, JASA 1927)."""
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)
