"""The adapter of the dynamic-scene datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.trees import plant
from videossl.data.datasets import scenes
from videossl.data.datasets.index import Entry
from videossl.job import UserError

VIDEOS = ["Beach/beach_01.avi", "Beach/b.MOV", "Forest Fire/f.mp4", "Forest Fire/g.mp4"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path, {"README.txt": "30 videos a class"}, VIDEOS)


def test_every_video_is_in_the_one_part(root: Path) -> None:
    plant(root, {}, [".DS_Store", "Beach/.DS_Store", ".hidden/x.avi"])
    index = scenes.read(root)
    assert index.classes == ["Beach", "Forest Fire"]
    assert index.root == root
    assert index.entries == [
        Entry("Beach/b.MOV", 0, {"1": "all"}),
        Entry("Beach/beach_01.avi", 0, {"1": "all"}),
        Entry("Forest Fire/f.mp4", 1, {"1": "all"}),
        Entry("Forest Fire/g.mp4", 1, {"1": "all"}),
    ]


def test_odd_files_are_left_to_decode(root: Path) -> None:
    plant(root, {}, ["Beach/notes", "Beach/beach_01.jpg", "Beach/beach_01.srt", "Beach/Thumbs.db"])
    (root / "Beach" / "dangling.avi").symlink_to("nowhere")
    names = {entry.name for entry in scenes.read(root).entries}
    assert names == {*VIDEOS, "Beach/notes", "Beach/dangling.avi"}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("Beach/c/0001.png", r"Beach/c: found a folder; frames are not supported, expected videos"),
        ("Ocean/0001.JPG", r"Ocean/0001\.JPG: found no video beside it; frames are not supported"),
        ("Ocean/o.avi", r"Ocean: found 1 videos; expected at least 2 per class"),
        ("Ocean/.DS_Store", r"Ocean: found 0 videos; expected at least 2 per class"),
    ],
)
def test_bad_trees(root: Path, extra: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scenes.read(plant(root, {}, [extra]))


def test_trees_without_classes(root: Path) -> None:
    with pytest.raises(UserError, match="Beach: found 0 class folders; the layout has"):
        scenes.read(root / "Beach")
    with pytest.raises(UserError, match="nowhere: folder not found; the layout has"):
        scenes.read(root / "nowhere")
