"""Modules of benchmarks/, which is no package."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from unittest import mock

from support.study import ROOT


def load(name: str) -> ModuleType:
    """A script by the name of its file; those that it imports are found beside it."""
    with mock.patch.object(sys, "path", [str(ROOT / "benchmarks"), *sys.path]):
        return import_module(name)
