"""The adapter of one table of videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.trees import plant
from videossl.data.datasets import csv
from videossl.data.datasets.index import Entry
from videossl.job import UserError

HEADER = "path,label,split\n"
ROWS = "clips/b.mp4,walk,train\na.avi,run,train\n"
VIDEOS = ["clips/b.mp4", "a.avi", "clips/c, d.mp4", "e.mp4"]
TABLE = f'{HEADER}{ROWS}"clips/c, d.mp4",walk,val\n./e.mp4, run , test\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path, {"videos.csv": TABLE}, VIDEOS)


def test_labels_and_parts(root: Path) -> None:
    index = csv.read(root)
    assert index.classes == ["run", "walk"]
    assert index.root == root
    assert index.entries == [
        Entry("a.avi", 0, {"1": "train"}),
        Entry("clips/b.mp4", 1, {"1": "train"}),
        Entry("clips/c, d.mp4", 1, {"1": "val"}),
        Entry("e.mp4", 0, {"1": "test"}),
    ]


def test_the_root_may_be_the_file(root: Path) -> None:
    table = (root / "videos.csv").rename(root / "mine.csv")
    assert csv.read(table).root == root
    assert len(csv.read(table).entries) == 4


def test_val_plays_test_where_no_video_is_in_test(root: Path) -> None:
    plant(root, {"videos.csv": f"{HEADER}{ROWS}e.mp4,run,val\n"})
    assert csv.read(root).entries[-1] == Entry("e.mp4", 0, {"1": "test"})


def test_columns_in_any_order_and_others_beside_them(root: Path) -> None:
    text = "fps,split,path,label\n25,train,a.avi,run\n,test,e.mp4,run\n"
    plant(root, {"videos.csv": f"\ufeff{text}"})
    assert [entry.name for entry in csv.read(root).entries] == ["a.avi", "e.mp4"]


def test_paths_that_leave_the_folder_are_left_to_decode(root: Path) -> None:
    (root / "data").mkdir()
    names = ["../a.avi", str(root / "e.mp4"), "../clips", "."]
    rows = "".join(f"{name},run,{'train' if name == '.' else 'test'}\n" for name in names)
    plant(root, {"data/videos.csv": HEADER + rows})
    assert sorted(entry.name for entry in csv.read(root / "data").entries) == sorted(names)


def test_absent_videos(root: Path) -> None:
    (root / "e.mp4").unlink()
    (root / "a.avi").unlink()
    (root / "a.avi").symlink_to("nowhere")  # decode says what is wrong with it
    message = r"^1 of 4 videos listed in .*videos\.csv are not under .*; first: e\.mp4$"
    with pytest.raises(UserError, match=message):
        csv.read(root)
    index = csv.read(root, missing=0.25)
    assert index.absent == ["e.mp4"]
    assert len(index.entries) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, r"videos\.csv:1: found no column 'path' in 'clips/b\.mp4,walk,train'; expected the"),
        (f"{HEADER}{ROWS}e.mp4,run\n", r"videos\.csv:4: found 2 fields in 'e\.mp4,run'"),
        (f"{HEADER}{ROWS}e.mp4,run,dev\n", r":4: found split 'dev'; expected train, val or test"),
        (f"{HEADER}{ROWS}e.mp4,,test\n", r"videos\.csv:4: found no path or label"),
        (f"{HEADER}{ROWS},run,test\n", r"videos\.csv:4: found no path or label"),
        (f"{HEADER}{ROWS}./a.avi,run,test\n", r"videos\.csv:4: a\.avi is listed twice"),
        (f"{HEADER}{ROWS}e.mp4,jump,test\n", r"videos\.csv:4: class 'jump' has no video in train"),
        (f"{HEADER}{ROWS}", r"videos\.csv: found train; expected videos in train and in test"),
        (HEADER, r"videos\.csv: found no row; expected videos in train"),
        ("", r"videos\.csv: found no header"),
    ],
)
def test_bad_tables(root: Path, text: str, message: str) -> None:
    plant(root, {"videos.csv": text})
    with pytest.raises(UserError, match=message):
        csv.read(root)


def test_missing_table(root: Path) -> None:
    with pytest.raises(UserError, match=r"clips/videos\.csv: not found; expected the header"):
        csv.read(root / "clips")
