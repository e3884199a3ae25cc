"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.study import Study, copy_study


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the tiny study run in one process: it takes minutes to make. Some need a GPU."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        if "tiny" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("tiny"))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A fresh study, nothing run yet."""
    return copy_study(tmp_path / "study")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A tiny study of few methods, made by Snakemake and adopted by DVC.

    Tests leave it as they found it. That DVC makes the same itself is a slow test.
    """
    study = copy_study(tmp_path_factory.mktemp("tiny") / "study")
    study.shrink()
    study.commit("tiny")
    study.run("snakemake", "--cores", "all")
    study.run("videossl", "adopt")
    study.run("dvc", "commit", "-f", "-q")
    study.commit("ran")
    return study
