"""Fixtures shared by all tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from support import preloaded_stages
from support.study import ROOT, Study, copy_study

settings.register_profile("untimed", deadline=None)  # no test holds how long an example takes
settings.load_profile("untimed")

MADE = "VIDEOSSL_TEST_STUDY"  # a folder for the study that tests share


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores, as a third of a test's time is waiting: for children, limits, locks."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(trylast=True)  # of the tests that are chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some tests need a GPU. The longest come first: no process waits for the last of another.

    Of those that need the shared study one comes first of all, and makes it; the others come when
    it may be there.
    """
    needs = [item for item in items if "shared_study" in getattr(item, "fixturenames", ())]
    places = dict.fromkeys(needs, 2) | dict.fromkeys(needs[:1], 0)
    for item in items:
        places.setdefault(item, 1 if "workflow" in item.path.parts else 3)
    items.sort(key=places.__getitem__)
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A fresh study, nothing run yet."""
    return copy_study(tmp_path / "study")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with the shipped params.yaml and overlays: for verbs called in here."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Path]:
    """What ``Study.preloaded`` takes."""
    with preloaded_stages.server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_study(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A tiny study of few methods, made by Snakemake and adopted by DVC.

    It takes a minute, so it is made once for all processes of pytest: the others wait for it; and
    once for several runs of pytest that name a folder for it. That DVC makes the same itself is a
    slow test.
    """
    base = tmp_path_factory.getbasetemp()
    shared = Path(os.environ.get(MADE) or (base if worker_id == "master" else base.parent))
    with (shared / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "tiny.made").exists():
            study = copy_study(shared / "tiny")
            study.shrink()
            study.commit("tiny")
            study.run("snakemake", "--cores", "all")
            study.run("videossl", "adopt")
            study.run("dvc", "commit", "-f", "-q")
            study.commit("ran")
            (shared / "tiny.made").touch()
    return shared / "tiny"


@pytest.fixture
def tiny(shared_study: Path, tmp_path: Path) -> Study:
    """A copy of the tiny study, with all that both engines made of it, to do anything with.

    Its files are its own; links among them, of runs, results and DVC's cache, are as they were.
    """
    target = tmp_path / "tiny"
    subprocess.run(["cp", "-a", str(shared_study), str(target)], check=True)
    return Study(target)
