"""The Diving48 adapter: both lists of version 2, and one clear line for each kind of bad list."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import diving48
from videossl.data.datasets.index import Entry
from videossl.job import UserError

VOCABULARY = [["Back", "15som", "05Twis", "FREE"], ["Forward", "35som", "NoTwis", "PIKE"]]
TRAIN = [
    {"vid_name": "-mTq31uyGP4_00000", "label": 1, "start_frame": 0, "end_frame": 151},
    {"vid_name": "a_00001", "label": 0, "start_frame": 5, "end_frame": 80},
]
TEST = [{"vid_name": "a_00002", "label": 0, "start_frame": 90, "end_frame": 99}]
NAMES = {"vocab": "Diving48_vocab", "train": "Diving48_V2_train", "test": "Diving48_V2_test"}


def tree(root: Path, place: str = "", videos: str = "rgb", **changed: Any) -> Path:
    lists = {"vocab": VOCABULARY, "train": TRAIN, "test": TEST} | changed
    texts = {f"{place}{NAMES[key]}.json": json.dumps(value) for key, value in lists.items()}
    clips = [f"{videos}/{clip['vid_name']}.mp4" for clip in (*TRAIN, *TEST)]
    return plant(root, texts, [*clips, f"{videos}/a_00001.json", f"{videos}/unlisted.mp4"])


@pytest.mark.parametrize(("place", "videos"), [("", "rgb"), ("annotations/", "videos")])
def test_training_and_test_videos(tmp_path: Path, place: str, videos: str) -> None:
    index = diving48.read(tree(tmp_path, place, videos))
    assert index.classes == ["Back 15som 05Twis FREE", "Forward 35som NoTwis PIKE"]
    assert index.root == tmp_path / videos
    assert index.odd == index.absent == []
    assert index.entries == [
        Entry("-mTq31uyGP4_00000.mp4", 1, {"1": "train"}),
        Entry("a_00001.mp4", 0, {"1": "train"}),
        Entry("a_00002.mp4", 0, {"1": "test"}),
    ]


@pytest.mark.parametrize(
    ("key", "item", "message"),
    [
        ("train", "x", r'V2_train\.json: entry 3: found "x"; expected `\{"vid_name"'),
        ("train", {"vid_name": "b", "label": "1"}, r"entry 3: found .*; expected"),
        ("train", {"vid_name": "b", "label": True}, r"entry 3: found .*; expected"),
        ("train", {"vid_name": "", "label": 1}, r"entry 3: found .*; expected"),
        ("train", {"vid_name": "b", "label": 2}, r"found label 2; Diving48_vocab\.json has 0 to 1"),
        ("train", {"vid_name": "b", "label": -1}, r"found label -1;"),
        ("train", TRAIN[0], r"entry 3: -mTq31uyGP4_00000 is listed twice"),
        ("test", TRAIN[0], r"V2_test\.json: entry 2: -mTq31.* is also in the train list"),
        ("test", {"vid_name": "c", "label": 1}, r"entry 2: found both c\.avi and more/c\.mp4"),
    ],
)
def test_odd_entries(tmp_path: Path, key: str, item: Any, message: str) -> None:
    whole = diving48.read(tree(tmp_path)).entries
    lists: dict[str, list[Any]] = {"train": TRAIN, "test": TEST}
    tree(tmp_path, **{key: [*lists[key], item]})
    plant(tmp_path, {}, ["rgb/c.avi", "rgb/more/c.mp4"])
    assert re.search(message, odd_line(diving48.read, tmp_path))
    assert diving48.read(tmp_path).entries == whole


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocab": {}}, r"vocab\.json: expected a list of"),
        ({"vocab": ["Back"]}, r'vocab\.json: entry 1: found "Back"; expected'),
        ({"vocab": [*VOCABULARY, []]}, r"vocab\.json: entry 3: found no name; expected"),
        ({"train": {}}, r"V2_train\.json: expected a list of"),
        ({"train": []}, r"V2_train\.json: found no usable row; expected a list of"),
        ({"test": ["x", "y"]}, r'entry 1: found "x"; .* \(2 of 2 rows are odd'),
    ],
)
def test_bad_lists(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        diving48.read(tree(tmp_path, **changed))


def test_absent_videos_up_to_the_allowed_share(tmp_path: Path) -> None:
    (tree(tmp_path) / "rgb" / "a_00001.mp4").unlink()
    with pytest.raises(
        UserError, match=r"^1 of 2 videos listed in .*V2_train\.json.*: a_00001\.mp4$"
    ):
        diving48.read(tmp_path)
    assert diving48.read(tmp_path, missing=0.5).absent == ["a_00001.mp4"]


def test_missing_files_and_files_there_twice(tmp_path: Path) -> None:
    plant(tree(tmp_path), {"annotations/Diving48_vocab.json": "[]"})
    with pytest.raises(
        UserError, match=r"found both .*/Diving48_vocab\.json and .*annotations/Div"
    ):
        diving48.read(tmp_path)
    (tmp_path / "annotations" / "Diving48_vocab.json").unlink()
    (tmp_path / "Diving48_V2_test.json").unlink()
    with pytest.raises(
        UserError, match=r"Diving48_V2_test\.json: not found; expected it there or in"
    ):
        diving48.read(tmp_path)
    with pytest.raises(UserError, match=r"rgb: folder not found; Diving48's layout has rgb"):
        diving48.read(tmp_path / "annotations")
