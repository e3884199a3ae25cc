"""The adapter of plain trees: parts, classes, and that no file is lost silently."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.trees import plant
from videossl.data.datasets import folder
from videossl.data.datasets.files import may_be_video
from videossl.data.datasets.index import Entry
from videossl.job import UserError

TRAIN = ["train/run/a.mp4", "train/walk/b.avi"]


def test_three_parts(tmp_path: Path) -> None:
    plant(tmp_path, {"README.md": "ours"}, [*TRAIN, "val/run/c.mp4", "test/walk/d.mp4"])
    index = folder.read(tmp_path)
    assert index.classes == ["run", "walk"]
    assert index.root == tmp_path
    assert index.entries == [
        Entry("test/walk/d.mp4", 1, {"1": "test"}),
        Entry("train/run/a.mp4", 0, {"1": "train"}),
        Entry("train/walk/b.avi", 1, {"1": "train"}),
        Entry("val/run/c.mp4", 0, {"1": "val"}),
    ]


def test_val_plays_test_where_there_is_none(tmp_path: Path) -> None:
    index = folder.read(plant(tmp_path, {}, [*TRAIN, "val/run/c.mp4"]))
    assert index.entries[-1] == Entry("val/run/c.mp4", 0, {"1": "test"})


def test_odd_files_are_entries_and_hidden_ones_are_not(tmp_path: Path) -> None:
    odd = ["train/run/no extension", "train/run/a.gif", "train/run/deep/er/x.mkv"]
    hidden = ["train/run/.DS_Store", "train/.cache/y.mp4", ".git/config", "train/run/._a.mp4"]
    hidden += ["train/Thumbs.db", "train/run/Thumbs.db", "train/run/desktop.ini"]
    hidden += [f"train/run/a.{suffix}" for suffix in ("srt", "json", "txt", "JPG", "mp4.part")]
    plant(tmp_path, {}, [*TRAIN, "test/run/c.mp4", *odd, *hidden])
    run = tmp_path / "train" / "run"
    (run / "folder.MP4").mkdir()
    (run / "dangling.mp4").symlink_to("nowhere")
    (run / "link").symlink_to(run)
    os.mkfifo(run / "pipe.mp4")
    (run / os.fsdecode(b"\xff.mp4")).touch()
    names = {entry.name for entry in folder.read(tmp_path).entries}
    others = ("folder.MP4", "dangling.mp4", "link", "pipe.mp4", os.fsdecode(b"\xff.mp4"))
    assert names == {*TRAIN, "test/run/c.mp4", *odd, *(f"train/run/{name}" for name in others)}


NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)


@settings(deadline=None, derandomize=True)
@given(names=st.sets(NAME.filter(may_be_video), min_size=1, max_size=4))
def test_any_name_is_kept(names: set[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("tree")
    videos = {f"{part}/run/{name}" for part in ("train", "test") for name in names}
    assert {entry.name for entry in folder.read(plant(root, {}, videos)).entries} == videos


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        (["run/a.mp4", "walk/b.mp4"], r": found no folder train; a split is needed: the layout"),
        (TRAIN, r": found no folder test or val; a split is needed"),
        (["val/run/a.mp4", "test/run/b.mp4"], r": found no folder train"),
        ([*TRAIN, "test/run/c.mp4", "extra/run/d.mp4"], r"extra: found beside train; expected"),
        ([*TRAIN, "test/c.mp4"], r"test/c\.mp4: found a file beside the class folders"),
        ([*TRAIN, "test/jump/c.mp4"], r"test/jump: class 'jump' has no video in train"),
        (
            [*TRAIN, "test/Run/c.mp4"],
            r"class 'Run' has no video in train; 'run' has: upper and lower case differ$",
        ),
        (
            [*TRAIN, "train/caf\u00e9/a.mp4", "test/cafe\u0301/b.mp4"],
            r"has no video in train; 'caf\u00e9' has: its letters are composed otherwise$",
        ),
        ([*TRAIN, "test/run/.hidden"], r"test: found no video"),
        ([*TRAIN, "test/run/a.txt"], r"test: found no video"),
        ([*TRAIN, "Test/run/a.mp4"], r"no folder test or val; Test \(perhaps 'test' is meant\)"),
        ([*TRAIN, "val/a/b.mp4", "Test/c/d.mp4"], r"Test: found beside train \(perhaps 'test'"),
    ],
)
def test_bad_trees(tmp_path: Path, videos: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        folder.read(plant(tmp_path, {}, videos))


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: folder not found; the layout has train/"):
        folder.read(tmp_path / "nowhere")


@pytest.mark.parametrize("closed", ["", "train", "train/run", "test/run/deep"])
def test_a_folder_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    plant(tmp_path, {}, [*TRAIN, "test/run/deep/c.mp4"])
    scandir = os.scandir

    def scan(path: Path | os.DirEntry[str]) -> Any:
        if Path(path) == tmp_path / closed:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        folder.read(tmp_path)
