"""The AVA adapter: merged boxes, exclusions and detections, and one clear line for a bad row."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.movies import decode_dataset, reference, write_stamped
from support.trees import odd_line, plant
from videossl.data.datasets import ava
from videossl.data.datasets.index import UNLABELLED, Entry
from videossl.data.datasets.lists import OddRows
from videossl.data.shards.store import ClipStore
from videossl.downstream.kinds import moments
from videossl.job import UserError

CLASSES = (
    'label {\n  name: "bend/bow (at the waist)"\n  label_id: 1\n  label_type: PERSON_MOVEMENT\n}\n'
    'label {\n  name: "crouch/kneel"\n  label_id: 2\n  label_type: PERSON_MOVEMENT\n}\n'
    'label {\n  name: "touch (an object)"\n  label_id: 3\n  label_type: OBJECT_MANIPULATION\n}\n'
)
EVALUATED = 'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\nitem { name: "x" id: 3 }\n'
TRAIN = (
    "-5KQ66BBWC4,0903,0.1,0.2,0.3,0.4,3,7\n"
    "-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,3,1\n"
    "-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,1,1\n"
    "-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,1,0\n"
    "-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,1,1\n"
    "b,1798,0,0,1,1.0,2,0\n"
)
VAL = "c,0902,0.5,0.5,0.5,0.6,2,0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    plant(tmp_path / "videos", {}, ["trainval/-5KQ66BBWC4.mkv", "trainval/b.mp4", "other/c.webm"])
    lists = {
        "ava_action_list_v2.2.pbtxt": CLASSES,
        "ava_train_v2.2.csv": TRAIN,
        "ava_val_v2.2.csv": VAL,
        "ava_train_excluded_timestamps_v2.2.csv": "b,0904\nb,0903\nunlabelled,0903\n",
        "ava_val_excluded_timestamps_v2.2.csv": "",
    }
    plant(tmp_path / "annotations", lists)
    return tmp_path


def test_of_a_film_the_annotated_part_is_stored(root: Path, tmp_path: Path) -> None:
    name = "trainval/-5KQ66BBWC4.mkv"
    film = root / "videos" / name
    write_stamped(film, [1000 * second for second in range(1850)])
    options = {"codec": "raw", "backend": "pyav"}
    manifest = decode_dataset(root, tmp_path / "out", adapter=ava, **options)
    assert len(manifest["rejects"]) == 2  # empty files
    store = ClipStore(tmp_path / "out")
    (stored,) = store.videos
    assert (stored.frames, stored.begin, stored.fps) == (910, 895.0, 1.0)
    whole = reference(film)
    frames = [moments.at_second(stored, time) for time in (902, 1798)]
    assert frames == [7, 903]
    np.testing.assert_array_equal(store.clip(0, [7, 903]), whole[[902, 1798]])


def test_rows_of_one_box_are_merged(root: Path) -> None:
    index = ava.read(root)
    assert index.classes == ["bend/bow (at the waist)", "crouch/kneel", "touch (an object)"]
    place = [0.077, 0.151, 0.283, 0.811]
    boxes = [
        {"time": 902, "box": place, "actions": [0], "person": 0},
        {"time": 902, "box": place, "actions": [0, 2], "person": 1},
        {"time": 903, "box": [0.1, 0.2, 0.3, 0.4], "actions": [2], "person": 7},
    ]
    annotations = {"boxes": boxes, "excluded": [], "detections": []}
    name = "trainval/-5KQ66BBWC4.mkv"
    entries = {entry.name: entry for entry in index.entries}
    assert entries[name] == Entry(name, UNLABELLED, {"1": "train"}, annotations, ava.SPAN)
    assert [(entry.name, entry.splits) for entry in index.entries] == [
        ("other/c.webm", {"1": "test"}),
        (name, {"1": "train"}),
        ("trainval/b.mp4", {"1": "train"}),
    ]


def test_excluded_times(root: Path) -> None:
    excluded = {entry.name: entry.annotations["excluded"] for entry in ava.read(root).entries}
    assert excluded["trainval/b.mp4"] == [903, 904]
    assert excluded["other/c.webm"] == []


def test_evaluated_classes(root: Path) -> None:
    assert ava.read(root).annotations == {"evaluated": [0, 1, 2]}
    plant(root / "annotations", {ava.EVALUATED: EVALUATED})
    assert ava.read(root).annotations == {"evaluated": [0, 2]}


@pytest.mark.parametrize("folder", ["", "person_box_67091280_iou90/"])
@pytest.mark.parametrize(
    "name", ["ava_val_predicted_boxes.csv", "ava_detection_val_boxes_and_labels.csv"]
)
def test_detections(root: Path, folder: str, name: str) -> None:
    text = (
        "c,0903,0,0,1,1,,0.5\nc,0902,0,0,1,1,-1,0.25\nc,0902,0,0.5,1,1,3,0.75\nd,0902,0,0,1,1,,1\n"
    )
    text += "c,0902,0,0.5,1,1,1,0.5\n"  # the same box: another action, another score
    plant(root / "annotations", {f"{folder}{name}": text})
    val, *train = (entry.annotations["detections"] for entry in ava.read(root).entries)
    assert val == [
        {"time": 902, "box": [0.0, 0.5, 1.0, 1.0], "actions": [0, 2], "score": 0.75},
        {"time": 902, "box": [0.0, 0.0, 1.0, 1.0], "actions": [], "score": 0.25},
        {"time": 903, "box": [0.0, 0.0, 1.0, 1.0], "actions": [], "score": 0.5},
    ]
    assert train == [[], []]


def test_the_best_of_several_files_of_detections(root: Path) -> None:
    names = [  # from the worst to the best, as SlowFast's archive has the first four
        "person_box_1_iou75/ava_detection_train_boxes_and_labels_include_negative_v2.2.csv",
        "person_box_1_iou90/ava_detection_train_boxes_and_labels_include_negative.csv",
        "person_box_1_iou90/ava_detection_train_boxes_and_labels_include_negative_v2.2.csv",
        "person_box_1_iou90/ava_train_predicted_boxes.csv",
        "ava_train_predicted_boxes.csv",
    ]
    for score, name in enumerate(names):
        text = f"b,0902,0,0,1,1,-1,0.{score}\n"
        plant(root / "annotations", {name: text})
        (found,) = [e for e in ava.read(root).entries if e.name == "trainval/b.mp4"]
        assert [box["score"] for box in found.annotations["detections"]] == [score / 10]


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([902, 903]), st.integers(0, 2), st.integers(1, 80)), min_size=1
    )
)
def test_no_action_is_lost_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("ava") / "rows.csv"
    path.write_text("".join(f"v,0{t},0,0,1,1,{action},{who}\n" for t, who, action in rows))
    boxes = ava._read_boxes(OddRows(path), 80, {}, {})["v"]
    found = [(box["time"], box["person"], a + 1) for box in boxes for a in box["actions"]]
    assert found == sorted(set(rows))
    assert len(boxes) == len({(time, who) for time, who, _ in rows})


@pytest.mark.parametrize(
    "name",
    [
        "ava_action_list_v2.2.pbtxt",
        "ava_train_v2.2.csv",
        "ava_val_v2.2.csv",
        "ava_train_excluded_timestamps_v2.2.csv",
        "ava_val_excluded_timestamps_v2.2.csv",
    ],
)
def test_missing_list(root: Path, name: str) -> None:
    (root / "annotations" / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: not found; expected"):
        ava.read(root)


@pytest.mark.parametrize("folder", ["videos", "annotations"])
def test_missing_folder(root: Path, folder: str) -> None:
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(UserError, match=rf"{folder}: folder not found; AVA's layout has"):
        ava.read(root)


@pytest.mark.parametrize(
    "line",
    [
        "b,0902,0,0,1,1,2",  # no person
        "b,0901,0,0,1,1,2,0",
        "b,1799,0,0,1,1,2,0",
        "b,0902.5,0,0,1,1,2,0",
        "b,0902,0,0,1,1.01,2,0",
        "b,0902,nan,0,1,1,2,0",
        "b,0902,0.6,0,0.5,1,2,0",
        "b,0902,0,0.6,1,0.5,2,0",
        "b,0902,0,0,1,1,,0",
        "b,0902,0,0,1,1,2,",
        "b,0902,0,0,1,1,-1,0",
    ],
)
def test_odd_boxes(root: Path, line: str) -> None:
    whole = ava.read(root).entries
    plant(root / "annotations", {"ava_train_v2.2.csv": f"{TRAIN}{line}\n"})
    assert re.search(r"ava_train_v2\.2\.csv:7: found .*; ", odd_line(ava.read, root))
    assert ava.read(root).entries == whole


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ava_train_v2.2.csv", f"{TRAIN}b,0902,0,0,1,1,4,0\n", r"csv:7: found action 4; .* 1 to 3"),
        (
            "ava_val_v2.2.csv",
            f"{VAL}b,0902,0,0,1,1,1,0\n",
            r"val_v2\.2\.csv:2: b is also in the tr",
        ),
        (
            "ava_val_v2.2.csv",
            f"{VAL}d,0902,0,0,1,1,1,0\n",
            r"csv:2: found both d\.avi and e/d\.mp4",
        ),
        ("ava_val_excluded_timestamps_v2.2.csv", "c,0902\nc,12\n", r"csv:2: found 'c,12'"),
        ("ava_val_excluded_timestamps_v2.2.csv", "c\n", r"csv:1: found 'c'; expected `video_id,ti"),
        (
            "ava_val_predicted_boxes.csv",
            "c,0902,0,0,1,1,4,0.5\n",
            r"csv:2: found action 4; .* 1 to 3",
        ),
        (
            "ava_val_predicted_boxes.csv",
            "c,0902,0,0,1,1,,1.5\n",
            r"csv:2: found 'c,0902.*or nothing",
        ),
        ("ava_val_predicted_boxes.csv", "c,0902,0,0,1,1,-2,0.5\n", r"csv:2: found action -2"),
    ],
)
def test_odd_rows_of_every_list(root: Path, name: str, text: str, message: str) -> None:
    plant(root / "videos", {}, ["d.avi", "e/d.mp4"])
    good = "c,0902,0,0,1,1,,0.5\n" if "predicted" in name else ""
    plant(root / "annotations", {name: good + text})
    assert re.search(message, odd_line(ava.read, root))
    assert len(ava.read(root).entries) == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ava_train_v2.2.csv", "", r"v2\.2\.csv: found no usable row"),
        ("ava_val_v2.2.csv", TRAIN, r"csv:1: -5KQ66BBWC4 is also .* \(6 of 6 rows are odd"),
        ("ava_val_predicted_boxes.csv", "b,0902,0,0,1,1,,0.5\n", r"found no video of ava_val_v2"),
        (ava.CLASSES, CLASSES + "label { name: 3 }", r"pbtxt:16: found 'label \{ name: 3 \}'"),
        (ava.CLASSES, CLASSES + CLASSES, r"pbtxt:16: id 1 is listed twice"),
        (ava.CLASSES, EVALUATED, r"pbtxt: found 2 classes; expected the ids 1, 2"),
        (ava.CLASSES, "\n", r"pbtxt: found no label"),
        (ava.EVALUATED, 'item { name: "y" id: 4 }', r"pbtxt: found id 4; .* has 1 to 3"),
    ],
)
def test_bad_lists(root: Path, name: str, text: str, message: str) -> None:
    plant(root / "annotations", {name: text})
    with pytest.raises(UserError, match=message):
        ava.read(root)


def test_absent_videos_up_to_the_allowed_share(root: Path) -> None:
    (root / "videos" / "trainval" / "b.mp4").unlink()
    with pytest.raises(UserError, match=r"^1 of 2 videos listed in .*ava_train_v2\.2\.csv .*: b$"):
        ava.read(root)
    index = ava.read(root, missing=0.5)
    assert index.absent == ["b"]
    assert [entry.name for entry in index.entries] == ["other/c.webm", "trainval/-5KQ66BBWC4.mkv"]
