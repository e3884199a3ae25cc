"""Made-up studies for the report's tests."""

from pathlib import Path

import pytest

from report.fake_study import FakeStudy


@pytest.fixture
def study(tmp_path: Path) -> FakeStudy:
    return FakeStudy(tmp_path / "study").fill()


@pytest.fixture
def empty_study(tmp_path: Path) -> FakeStudy:
    (tmp_path / "study").mkdir()
    return FakeStudy(tmp_path / "study")
