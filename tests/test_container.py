"""The image of ``workflow/container/Dockerfile``: whole, pinned, of a Python that is allowed.

It is not built here: that takes a container engine.
"""

from __future__ import annotations

import re
import tomllib

from packaging.specifiers import SpecifierSet

from support.study import ROOT

TEXT = (ROOT / "workflow/container/Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def steps(word: str) -> list[str]:
    """What follows an instruction, its lines joined."""
    joined = TEXT.replace("\\\n", " ")
    return [
        " ".join(found.split()) for found in re.findall(rf"^{word} (.+)$", joined, re.MULTILINE)
    ]


def test_what_it_copies_is_there_and_is_all_that_an_installation_reads():
    copied = {name for step in steps("COPY") for name in step.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    read = {PROJECT["readme"], *PROJECT["license-files"]}
    assert copied == {"constraints.txt", "pyproject.toml", "src", *read}


def test_every_installation_is_pinned_as_that_of_make_setup():
    calls = [call for step in steps("RUN") for call in step.split(" && ")]
    assert len(calls) == 2
    assert all("pip install" in call and "-c constraints.txt" in call for call in calls)
    made = re.findall(r"pip install.*?(?=\n\t\S|\n\n)", (ROOT / "Makefile").read_text(), re.DOTALL)
    assert ["--no-build-isolation" in call for call in calls] == [
        "--no-build-isolation" in call for call in made
    ]


def test_its_python_is_allowed_and_nothing_is_from_elsewhere():
    (image,) = steps("FROM")
    python = re.fullmatch(r"python:(3\.\d+)-slim", image)
    assert python is not None
    assert python[1] in SpecifierSet(PROJECT["requires-python"])
    assert "://" not in TEXT
