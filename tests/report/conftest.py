"""Made-up studies for the report's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from support import chromium, fake_classes, fake_clips, fake_gallery, fake_looks
from support.fake_study import FakeStudy, run


@pytest.fixture
def study(tmp_path: Path) -> FakeStudy:
    """All stages done; a test may change it."""
    return FakeStudy(tmp_path / "study").fill()


@pytest.fixture
def empty_study(tmp_path: Path) -> FakeStudy:
    """No stage done."""
    (tmp_path / "study").mkdir()
    return FakeStudy(tmp_path / "study")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The aggregated outputs of the whole study, to be read only."""
    root = tmp_path_factory.mktemp("report")
    return run(FakeStudy(root / "study").fill(rejects=60), root / "out")


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The aggregated outputs of a study with all kinds of strips, to be read only."""
    root = tmp_path_factory.mktemp("gallery")
    study = fake_gallery.searched(root / "study")
    fake_clips.keep(study, "rspnet")
    fake_looks.classes(study)
    study.evaluation("rspnet", "recognition", {"top1": 0.5})
    fake_looks.look(study, "rspnet")
    study.embedding("rspnet", 141.3)
    return run(study, root / "out")


@pytest.fixture(scope="session")
def confused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The aggregated outputs of a study with maps of confusions, to be read only."""
    root = tmp_path_factory.mktemp("classes")
    names = [f"{verb} {thing}" for verb in ("Lifting", "Tearing") for thing in "abcdefghijkl"]
    study = fake_classes.study(root / "study", names)
    return run(fake_classes.confused(study, len(names)), root / "out")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
