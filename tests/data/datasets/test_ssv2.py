"""The Something-Something v2 adapter, with both sets of list names in both places."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import ssv2
from videossl.data.datasets.index import Entry
from videossl.job import UserError

VIDEOS = "20bn-something-something-v2"
LABELS = {"Putting something on something": "1", "Approaching something with your camera": "0"}
ON = "Putting [something] on [something]"
CAMERA = "Approaching [something] with your camera"
TRAIN = [
    {"id": "78687", "label": "putting a cup on a book", "template": ON, "placeholders": []},
    {"id": "12", "label": "approaching a tree", "template": CAMERA, "placeholders": ["a tree"]},
]
VALIDATION = [{"id": "9", "label": "putting", "template": ON, "placeholders": []}]
LISTS: dict[str, Any] = {
    "labels": LABELS,
    "train": TRAIN,
    "validation": VALIDATION,
    "test": [{"id": "1420"}],
}


def tree(root: Path, place: str = "labels/", **changed: Any) -> Path:
    lists = {f"{place}{name}.json": json.dumps(value) for name, value in (LISTS | changed).items()}
    return plant(root, lists, [f"{VIDEOS}/{name}.webm" for name in ("78687", "12", "9", "1420")])


@pytest.mark.parametrize(
    "place",
    ["labels/", "", "something-something-v2-", "labels/something-something-v2-"],
)
def test_training_and_validation_videos(tmp_path: Path, place: str) -> None:
    index = ssv2.read(tree(tmp_path, place))
    assert index.classes == [
        "Approaching something with your camera",
        "Putting something on something",
    ]
    assert index.root == tmp_path / VIDEOS
    assert index.entries == [
        Entry("12.webm", 0, {"1": "train"}),
        Entry("78687.webm", 1, {"1": "train"}),
        Entry("9.webm", 1, {"1": "test"}),
    ]


def test_converted_videos_are_found(tmp_path: Path) -> None:
    videos = tree(tmp_path) / VIDEOS
    (videos / "9.webm").rename(videos / "9.mp4")
    assert [entry.name for entry in ssv2.read(tmp_path).entries][-1] == "9.mp4"


def test_absent_videos(tmp_path: Path) -> None:
    (tree(tmp_path) / VIDEOS / "12.webm").unlink()
    message = r"^1 of 2 videos listed in .*train\.json are not under .*; first: 12\.webm$"
    with pytest.raises(UserError, match=message):
        ssv2.read(tmp_path)
    index = ssv2.read(tmp_path, missing=0.5)
    assert index.absent == ["12.webm"]
    assert [entry.name for entry in index.entries] == ["78687.webm", "9.webm"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ["a"]}, r"labels\.json: found a list; expected an object of"),
        ({"labels": {}}, r"labels\.json: found 0 classes"),
        ({"labels": {"a": "0", "b": "2"}}, r"labels\.json: found 2 classes; .* in full"),
        ({"labels": {"a": "0", "b": 0}}, r"labels\.json: found 'b': 0; expected a number once"),
        ({"labels": {"a": "-1"}}, r"labels\.json: found 'a': '-1'"),
        ({"train": {}}, r"train\.json: expected a list of"),
        ({"train": [{"id": "1"}]}, r'train\.json: entry 1: found \{"id": "1"\}; expected'),
        ({"train": TRAIN + TRAIN}, r"train\.json: entry 3: 78687 is listed twice"),
        (
            {"validation": [{"id": "9", "template": "Eating [something]"}]},
            r"validation\.json: entry 1: template 'Eating \[something\]' is not in labels\.json",
        ),
        (
            {"validation": TRAIN},
            r"validation\.json: entry 1: 78687 is also in the train list",
        ),
    ],
)
def test_bad_lists(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ssv2.read(tree(tmp_path, **changed))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("x", r'train\.json: entry 3: found "x"; expected `\{"id"'),
        ({"id": "5"}, r'train\.json: entry 3: found \{"id": "5"\}'),
        ({"id": "5", "template": ""}, r"entry 3: template '' is not in labels\.json$"),
        (
            {"id": "5", "template": "putting something on something"},
            r"labels\.json \(perhaps 'Putting something on something' is meant\)$",
        ),
        (TRAIN[0], r"entry 3: 78687 is listed twice"),
        ({"id": "twice", "template": ON}, r"entry 3: found both twice\.mp4 and a/twice\.webm"),
    ],
)
def test_odd_entries(tmp_path: Path, item: Any, message: str) -> None:
    whole = ssv2.read(tree(tmp_path)).entries
    plant(tree(tmp_path, train=[*TRAIN, item]) / VIDEOS, {}, ["twice.mp4", "a/twice.webm"])
    assert re.search(message, odd_line(ssv2.read, tmp_path))
    assert ssv2.read(tmp_path).entries == whole


def test_lists_with_a_byte_order_mark_and_sidecars(tmp_path: Path) -> None:
    whole = ssv2.read(tree(tmp_path)).entries
    texts = {f"labels/{name}.json": f"\ufeff{json.dumps(value)}" for name, value in LISTS.items()}
    plant(tmp_path, texts, [f"{VIDEOS}/12.json", f"{VIDEOS}/12.jpg", f"{VIDEOS}/._12.webm"])
    assert ssv2.read(tmp_path).entries == whole


def test_list_that_is_not_json(tmp_path: Path) -> None:
    plant(tree(tmp_path), {"labels/train.json": '[\n{"id": }\n]'})
    with pytest.raises(UserError, match=r"train\.json:2: not JSON \(Expecting value\)"):
        ssv2.read(tmp_path)


def test_list_that_is_not_text(tmp_path: Path) -> None:
    (tree(tmp_path) / "labels" / "train.json").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"train\.json:1: not UTF-8 text"):
        ssv2.read(tmp_path)


def test_lists_that_are_missing_or_there_twice(tmp_path: Path) -> None:
    plant(tree(tmp_path), {"something-something-v2-train.json": "[]"})
    with pytest.raises(UserError, match=r"found both .*labels/train\.json and .*-v2-train\.json"):
        ssv2.read(tmp_path)
    (tmp_path / "labels" / "labels.json").unlink()
    with pytest.raises(UserError, match=r"labels/labels\.json: not found; expected it there or"):
        ssv2.read(tmp_path)
    with pytest.raises(UserError, match=f"{VIDEOS}: folder not found"):
        ssv2.read(tmp_path / "labels")
