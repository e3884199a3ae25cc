"""``prepare`` for a dataset on disk: what it writes down, whatever form the root has."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from support.trees import plant
from videossl.data.builtin import labels as builtin
from videossl.data.datasets import csv, folder, prepare
from videossl.job import Job
from videossl.study.reads import PrepareParams
from videossl.study.registry import DATASETS, LABELS
from videossl.study.schema import FolderData

TABLE = "path,label,split\na.mp4,run,train\nb.mp4,run,test\nc.mp4,run,Test\nd.mp4,run,test\n"


def run(
    form: str, module: ModuleType, root: str, out: Path, missing: float = 0.25
) -> prepare.Listing:
    block = {"format": form, "root": root, "missing": missing, "revision": 1}
    params = PrepareParams(data=FolderData.model_validate(block))
    job = Job("prepare", {"dataset": "mine"}, {}, out, out, 1, {"dataset": module})
    prepare.run(job, params)
    return prepare.read(out, Path(root))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "root", {"videos.csv": TABLE, "a.mp4": "film"}, ["b.mp4"])


def test_odd_and_absent_are_written_and_said(
    root: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("csv", csv, str(root), out, missing=0.5)
    written = json.loads((out / "index.json").read_text())
    assert written["absent"] == ["d.mp4"]
    assert written["odd"] == [
        "videos.csv:4: found split 'Test' (perhaps 'test' is meant); expected train, val or test"
    ]
    assert [(video["name"], video["bytes"]) for video in written["videos"]] == [
        ("a.mp4", 4),
        ("b.mp4", 0),
    ]
    said = capsys.readouterr().err
    assert "1 of 3 listed videos are absent" in said
    assert f"1 odd annotations are left out; first: {root}/videos.csv:4: found split" in said


@pytest.mark.parametrize("form", ["{root}", "{root}/videos.csv", "~/root", "$HOME/root/videos.csv"])
def test_forms_of_the_root(
    root: Path, out: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    listing = run("csv", csv, form.format(root=root), out, missing=0.5)
    assert listing.root.resolve() == root
    assert [video.name for video in listing] == ["a.mp4", "b.mp4"]
    assert (listing.root / "a.mp4").read_text() == "film"


def test_names_that_are_not_utf8(tmp_path: Path, out: Path) -> None:
    name = os.fsdecode(b"train/a/\xff.mp4")
    plant(tmp_path / "tree", {}, [name, "test/a/b.mp4"])
    assert name in run("folder", folder, str(tmp_path / "tree"), out).videos


@pytest.mark.parametrize("form", DATASETS)
def test_every_adapter_says_which_labels_it_has(form: str) -> None:
    from importlib import import_module

    labels = import_module(DATASETS[form]).LABELS
    if form == "synthetic":  # laid out as another format, with labels of its own
        labels = {**labels, **builtin.LABELS}
    assert set(labels) == set(LABELS[form].values())
    assert all(labels.values())


@pytest.mark.parametrize("name", ["absent", "folder", "a\0b", "x" * 300, "loop"])
def test_what_is_no_file_has_no_bytes(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_bytes(bytes(7))
    assert prepare.size_of(tmp_path / "file") == 7
    assert prepare.size_of(f"{tmp_path}/{name}") == 0
