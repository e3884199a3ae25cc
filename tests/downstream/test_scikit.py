"""What scikit-learn is imported for, and what is imported along with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from videossl.study.registry import PROTOCOLS

LOADED = "import sys, {module}; print(*(name for name in {names} if name in sys.modules))"


def loaded(module: str, *names: str) -> list[str]:
    """Which of some modules an import of another takes along, in a process of its own."""
    code = LOADED.format(module=module, names=names)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_scikit_learn_comes_without_pandas_which_can_be_imported_later():
    assert loaded("videossl.downstream.scikit", "sklearn.svm", "pandas") == ["sklearn.svm"]
    assert loaded("videossl.downstream.scikit, pandas", "pandas") == ["pandas"]


@pytest.mark.parametrize("protocol", ["linear", "knn", "retrieval"])
def test_protocols_import_what_is_heavy_when_they_need_it(protocol):
    module = PROTOCOLS[protocol].module
    assert loaded(module, "sklearn", "scipy", "torch", "pandas") == []


def test_objectives_of_boxes_need_no_scikit_learn():
    assert loaded("videossl.downstream.objectives.detection", "sklearn", "pandas") == []
