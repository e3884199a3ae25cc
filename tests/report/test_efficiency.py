"""Tests that differ in their share of the labels only become one curve."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fake_study import FakeStudy, finetune, run

SHARES = {"few": 0.01, "some": 0.1, "all": 1.0}
VALUES = {"scratch": (0.1, 0.2, 0.5), "rspnet": (0.3, 0.5, 0.6)}


@pytest.fixture
def shares(tmp_path: Path) -> FakeStudy:
    root = tmp_path / "study"
    root.mkdir()
    tests = {name: finetune(share=share) for name, share in SHARES.items()}
    study = FakeStudy(root, finetune=tests, probe={})
    study.decoding("synthetic")
    study.encoders()
    for row, values in VALUES.items():
        for test, value in zip(SHARES, values, strict=True):
            study.evaluation(row, "recognition", {"top1": value}, test=test)
    return study


def test_a_line_per_row_over_the_shares(shares, tmp_path):
    out = run(shares, tmp_path / "out")
    assert (out / "figures/efficiency-few-recognition.svg").exists()
    page = (out / "report.html").read_text()
    assert (
        "by share of the labels (tests few, some and all): scratch 10.0 at 1 %, 20.0 at 10 %, "
        "50.0 at 100 %; RSPNet 30.0 at 1 %, 50.0 at 10 %, 60.0 at 100 %." in page
    )


def test_tests_that_differ_in_more_are_no_curve(shares, tmp_path):
    shares.finetune = {
        name: finetune(share=share, splits=[number + 1])
        for number, (name, share) in enumerate(SHARES.items())
    }
    out = run(shares, tmp_path / "out")
    assert not list((out / "figures").glob("efficiency-*"))
