"""Fixtures of the tests that look after a study."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.study import ROOT
from videossl.study import graph, records
from videossl.study.graph import Graph


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """The shipped study in a folder of its own, which is the present one; nothing was run."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    records._checked.clear()
    return graph.load()
