"""The learning rate of every step, and which blocks of an optimiser are accepted."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from support.specs import PLAIN
from videossl.study.schema import Optimizer
from videossl.train import schedule


def spec_of(**changes: Any) -> Optimizer:
    rest = {"name": "sgd", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.0}
    return Optimizer(**rest | PLAIN | changes)


@given(st.integers(1, 1000), st.floats(0, 1), st.data())
def test_the_cosine_begins_where_the_warm_up_ends(total, lowest, data):
    warmup = data.draw(st.integers(0, total))
    spec = spec_of(lowest=lowest)
    rates = [schedule.share(spec, step, total, warmup) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if warmup:
        assert rates[warmup - 1] == pytest.approx(1)
        assert rates[0] == pytest.approx(1 / warmup)
    if warmup < total:
        assert rates[warmup] == pytest.approx(1)
        middle = warmup + (total - warmup) / 2
        if middle == int(middle):
            assert rates[int(middle)] == pytest.approx((1 + lowest) / 2)
        assert schedule.share(spec, total, total, warmup) == pytest.approx(lowest, abs=1e-12)


def test_the_papers_cosine_begins_at_step_0():
    # lr 4.8, 35 of 200 epochs of warm-up: at epoch 100 it is halfway, ours is not
    papers, ours = spec_of(schedule="cosine_from_start"), spec_of()
    assert 4.8 * schedule.share(papers, 100, 200, 35) == pytest.approx(2.40)
    assert 4.8 * schedule.share(ours, 100, 200, 35) == pytest.approx(3.19, abs=0.01)
    joined = 0.5 * (1 + math.cos(math.pi * 35 / 200))
    assert schedule.share(papers, 34, 200, 35) == pytest.approx(joined)
    assert schedule.share(papers, 35, 200, 35) == pytest.approx(joined)
    assert schedule.share(papers, 6, 200, 35) == pytest.approx(joined / 5)


@given(st.integers(1, 400), st.sets(st.floats(0.01, 0.99), min_size=1, max_size=4))
def test_steps_fall_at_their_share_of_the_training(total, milestones):
    shares = sorted(milestones)
    spec = spec_of(schedule="steps", milestones=shares, factor=0.5)
    for step in range(total):
        passed = sum(step > share * total - 0.5 for share in shares)
        near = any(abs(step - (share * total - 0.5)) < 1e-6 for share in shares)
        assert near or schedule.share(spec, step, total, 0) == 0.5**passed


def test_a_tenth_at_60_120_and_180_of_200_epochs():
    spec = spec_of(schedule="steps", milestones=[0.3, 0.6, 0.9])
    rates = [schedule.share(spec, step, 200, 0) for step in range(200)]
    changes = [step for step in range(1, 200) if rates[step] != rates[step - 1]]
    assert changes == [60, 120, 180]
    assert rates[199] == pytest.approx(1e-3)


def test_the_peak_grows_with_the_batch():
    assert schedule.peak(spec_of(), 512) == 0.5
    assert schedule.peak(spec_of(lr_base_size=64), 512) == 4.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "adamw", "nesterov": True}, "adamw has none; allowed with sgd and lars"),
        ({"name": "lamb", "nesterov": True}, "lamb has none; allowed with sgd and lars"),
        ({"nesterov": True, "momentum": 0.0}, "momentum is 0; it must be above 0"),
        ({"schedule": "steps"}, "milestones is empty; name at least one"),
        ({"milestones": [0.5, 0.5]}, r"milestones = \[0.5, 0.5\]: must increase"),
        ({"milestones": [0.6, 0.3]}, r"milestones = \[0.6, 0.3\]: must increase"),
        ({"milestones": [0.5, 1.0]}, "less than 1"),
        ({"milestones": [0.0]}, "greater than 0"),
        ({"schedule": "linear"}, "cosine_from_start"),
        ({"factor": 0.0}, "greater than 0"),
        ({"factor": 2.0}, "less than or equal to 1"),
        ({"lowest": 1.5}, "less than or equal to 1"),
        ({"warmup_epochs": -1}, "greater than or equal to 0"),
        ({"warmup_epochs": 1.5}, "valid integer"),
    ],
)
def test_what_no_optimiser_can_do_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        spec_of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "lars", "nesterov": True},
        {"schedule": "steps", "milestones": [0.1, 0.9], "factor": 1.0},
        {"schedule": "constant", "milestones": [0.5]},  # read by steps only
        {"lowest": 1.0, "warmup_epochs": 35},
    ],
)
def test_what_one_can_do_is_accepted(changes):
    spec_of(**changes)
