"""The walks of CONTRIBUTING.md: their edits are made in a copy, and their commands run there."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.study import ROOT, copy_study

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Walk:
    """One section: what it does to files, in its order, and what it then runs."""

    edits: list[tuple[str, str, str]] = field(default_factory=list)  # language, file, text
    commands: str = ""


def walks(text: str) -> dict[str, Walk]:
    """Title of a section -> its walk, of the sections that have one."""
    found: dict[str, Walk] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        for language, file, body in BLOCK.findall(section):
            walk = found.setdefault(title, Walk())
            if file:
                walk.edits.append((language, file, body))
            elif language == "sh":
                walk.commands += body
    return found


def make(root: Path, language: str, file: str, body: str) -> None:
    """Write a new file, or apply a diff: its lines without ``+`` stand once in the file."""
    path = root / file
    if language != "diff":
        assert not path.exists(), f"{file} is there already"
        path.write_text(body, encoding="utf-8")
        return
    lines = body.splitlines()
    assert all(line[:1] in ("", " ", "+", "-") for line in lines), f"{file}: not a diff: {body}"
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


WALKS = walks(TEXT)


def test_there_are_four_walks():
    assert list(WALKS) == ["A method", "A dataset format", "A backbone", "A protocol"]
    for walk in WALKS.values():
        assert walk.edits
        assert "videossl" in walk.commands


@pytest.mark.parametrize("title", WALKS)
def test_the_places_that_a_walk_edits_are_there(tmp_path, title):
    for language, file, body in WALKS[title].edits:
        place = tmp_path / file
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / file).exists() and not place.exists():
            shutil.copy(ROOT / file, place)
        make(tmp_path, language, file, body)


@pytest.mark.slow
@pytest.mark.parametrize("title", WALKS)
def test_a_walk_works_as_it_is_written(tmp_path, preloaded, title):
    study = copy_study(tmp_path / "study")
    (study.root / "docs").mkdir(exist_ok=True)
    for edit in WALKS[title].edits:
        make(study.root, *edit)
    with study.preloaded(preloaded):
        study.run("bash", "-euo", "pipefail", "-c", WALKS[title].commands)
    # what a walk adds is as clean as what is there
    ruff = shutil.which("ruff")
    if ruff is not None:
        shutil.copy(ROOT / "pyproject.toml", study.root)
        study.run(ruff, "check", "src")
        study.run(ruff, "format", "--check", "src")


def test_an_edit_whose_place_is_not_there_fails(tmp_path):
    (tmp_path / "a.py").write_text("one\none\n")
    for place in ("two", "one"):
        with pytest.raises(AssertionError, match=r"a\.py has \d times"):
            make(tmp_path, "diff", "a.py", f" {place}\n+three\n")
