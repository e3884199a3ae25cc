"""The house: no circle between packages, short files, names that say what they hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.study import ROOT

SOURCE = ROOT / "src/videossl"
LONGEST = 400  # lines of a source file
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common"}
FILES = sorted(SOURCE.rglob("*.py"))


def package(path: Path) -> str:
    """The package that a file is in, two levels deep: ``data.shards``; "" at the top."""
    return ".".join(path.relative_to(SOURCE).parent.parts[:2])


def imported(path: Path) -> set[str]:
    """Packages whose modules a file imports when it is imported; types apart."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:  # imports inside functions are late on purpose
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("videossl"):
            for alias in node.names:
                module = f"{node.module}.{alias.name}".split(".")[1:]
                folder = SOURCE
                parts: list[str] = []
                for part in module:
                    if not (folder / part).is_dir():
                        break
                    folder, parts = folder / part, [*parts, part]
                found.add(".".join(parts[:2]))
    return found - {"", package(path)}


def test_no_circle_between_packages():
    needs: dict[str, set[str]] = {}
    for path in FILES:
        if package(path):
            needs.setdefault(package(path), set()).update(imported(path))
    assert len(needs) > 12
    left = {name: {n for n in others if n in needs} for name, others in needs.items()}
    while left:
        free = {name for name, others in left.items() if not others & set(left)}
        assert free, f"these packages import one another: {left}"
        left = {name: others for name, others in left.items() if name not in free}


@pytest.mark.parametrize(
    "path", [*FILES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*.py")], ids=str
)
def test_a_file_is_short_and_its_name_says_what_it_holds(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert path.stem not in VAGUE
