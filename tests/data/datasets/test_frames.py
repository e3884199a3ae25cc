"""Labelled frames and gaze: what is read, and one clear line for each kind of bad list."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.trees import odd_line, plant
from videossl.data.datasets import frames, gaze
from videossl.data.datasets.index import UNLABELLED, Entry
from videossl.job import UserError

SPLITS = "video,split\na/scan1.mp4,train\nscan2.avi,val\nscan3.mp4,test\n"
CLASSES = "video,frame,class\nscan2.avi,7,head\na/scan1.mp4,10,thigh\na/scan1.mp4,9,abdomen\n"
GAZE = "video,frame,x,y\nscan2.avi,7,0.5,0.25\nscan2.avi,7,0,1\nscan2.avi,3,1,0.125\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    plant(tmp_path / "videos", {}, ["a/scan1.mp4", "scan2.avi", "scan3.mp4", "extra.mp4"])
    plant(tmp_path, {"splits.csv": SPLITS})
    return tmp_path


def test_labelled_frames(root: Path) -> None:
    plant(root, {"frames.csv": CLASSES})
    index = frames.read(root)
    assert index.classes == ["abdomen", "head", "thigh"]
    assert index.root == root / "videos"
    assert index.entries == [
        Entry("a/scan1.mp4", UNLABELLED, {"1": "train"}, {"frames": [[9, 0], [10, 2]]}),
        Entry("scan2.avi", UNLABELLED, {"1": "val"}, {"frames": [[7, 1]]}),
        Entry("scan3.mp4", UNLABELLED, {"1": "test"}, {"frames": []}),
    ]


def test_gaze(root: Path) -> None:
    plant(root, {"gaze.csv": GAZE})
    index = gaze.read(root)
    assert index.classes == []
    points = [[3, 1.0, 0.125], [7, 0.0, 1.0], [7, 0.5, 0.25]]
    assert [entry.annotations for entry in index.entries] == [
        {"gaze": []},
        {"gaze": points},
        {"gaze": []},
    ]


def test_a_degree_of_visual_angle(root: Path) -> None:
    plant(root, {"gaze.csv": GAZE})
    assert gaze.read(root).annotations is None
    plant(root, {"sigma.txt": "0.05\n"})
    assert gaze.read(root).annotations == {"sigma": 0.05}
    for text in ("", "wide", "0", "1", "nan"):
        plant(root, {"sigma.txt": text})
        with pytest.raises(UserError, match=rf"sigma\.txt: found '{text}'; expected a share of"):
            gaze.read(root)


@settings(max_examples=40)
@given(st.dictionaries(st.integers(0, 10**6), st.sampled_from("ABC"), min_size=1))
def test_every_frame_keeps_its_class(
    tmp_path_factory: pytest.TempPathFactory, labelled: dict[int, str]
) -> None:
    root = tmp_path_factory.mktemp("frames")
    plant(root / "videos", {}, ["v.mp4"])
    rows = "".join(f"v.mp4,{frame},{name}\n" for frame, name in labelled.items())
    texts = {"splits.csv": "video,split\nv.mp4,test\n", "frames.csv": f"video,frame,class\n{rows}"}
    plant(root, texts)
    index = frames.read(root)
    found = index.entries[0].annotations["frames"]
    assert {frame: index.classes[label] for frame, label in found} == labelled
    assert found == sorted(found)


def test_the_format_decides_which_labels_are_read(root: Path) -> None:
    with pytest.raises(UserError, match=r"frames\.csv: not found; expected a CSV file with the"):
        frames.read(plant(root, {"gaze.csv": GAZE}))
    assert frames.read(plant(root, {"frames.csv": CLASSES})).entries[1].annotations == {
        "frames": [[7, 1]]
    }
    assert gaze.read(root).entries[0].annotations == {"gaze": []}
    (root / "gaze.csv").unlink()
    with pytest.raises(UserError, match=r"gaze\.csv: not found; expected a CSV file with the"):
        gaze.read(root)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "splits.csv",
            "extra.mp4,Train",
            r":5: found extra\.mp4 and split 'Train' \(perhaps 'train' ",
        ),
        ("splits.csv", ",test", r"splits\.csv:5: found video ''"),
        (
            "splits.csv",
            "../x.mp4,test",
            r"splits\.csv:5: found video '\.\./x\.mp4'; expected a file",
        ),
        ("splits.csv", "x\0.mp4,test", r"splits\.csv:5: found video 'x\\x00\.mp4'"),
        ("splits.csv", "./scan2.avi,test", r"splits\.csv:5: scan2\.avi is listed twice"),
        ("frames.csv", "scan2.avi,7,thigh", r"frames\.csv:5: frame 7 of scan2\.avi is"),
        ("frames.csv", "extra.mp4,7,thigh", r"frames\.csv:5: found video 'extra\.mp4'"),
        ("frames.csv", "scan2.avi,-1,thigh", r"frames\.csv:5: found frame '-1'"),
        ("frames.csv", "scan2.avi,8,", r"frames\.csv:5: found no class"),
        ("gaze.csv", "scan2.avi,1.5,0,0", r"gaze\.csv:5: found frame '1\.5'"),
        ("gaze.csv", "scan2.avi,1,1.01,0", r"gaze\.csv:5: found '1\.01'; expected a share"),
        ("gaze.csv", "scan2.avi,1,0,nan", r"gaze\.csv:5: found 'nan'; expected a share"),
        ("gaze.csv", "scan2.avi,1,0", r"gaze\.csv:5: found 3 fields"),
    ],
)
def test_odd_rows(root: Path, name: str, line: str, message: str) -> None:
    texts = {"splits.csv": SPLITS, "frames.csv": CLASSES, "gaze.csv": GAZE}
    adapter = gaze if name == "gaze.csv" else frames
    whole = adapter.read(plant(root, texts)).entries
    plant(root, {name: f"{texts[name]}{line}\n"})
    assert re.search(message, odd_line(adapter.read, root))
    assert adapter.read(root).entries == whole


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("splits.csv", "video,part\na,train\n", r"splits\.csv:1: found no column 'split'"),
        ("splits.csv", "video,split\n", r"splits\.csv: found no usable row; expected a CSV file"),
        ("splits.csv", SPLITS + "a,b\nc,d\n", r"splits\.csv:5: .* \(2 of 5 rows are odd; allowed"),
        ("frames.csv", "video,frame,class\n", r"frames\.csv: found no usable row"),
        ("frames.csv", CLASSES + "x,1,a\ny,1,a\n", r"frames\.csv:5: found video 'x', .* \(2 of 5"),
        ("gaze.csv", "video,frame,x,y\n", r"gaze\.csv: found no usable row"),
    ],
)
def test_bad_lists(root: Path, name: str, text: str, message: str) -> None:
    texts = {"frames.csv": CLASSES} if name == "splits.csv" else {}
    plant(root, texts | {name: text})
    with pytest.raises(UserError, match=message):
        (gaze if name == "gaze.csv" else frames).read(root)


def test_missing_folder_and_list(root: Path) -> None:
    (root / "splits.csv").unlink()
    with pytest.raises(UserError, match=r"splits\.csv: not found; expected a CSV file"):
        frames.read(root)
    (root / "videos").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"videos: folder not found; this layout has videos"):
        frames.read(root)


def test_absent_videos_up_to_the_allowed_share(root: Path) -> None:
    plant(root, {"frames.csv": CLASSES})
    (root / "videos" / "scan3.mp4").unlink()
    with pytest.raises(UserError, match=r"^1 of 3 videos listed in .*splits\.csv .*: scan3\.mp4$"):
        frames.read(root)
    index = frames.read(root, missing=0.4)
    assert index.absent == ["scan3.mp4"]
    assert [entry.name for entry in index.entries] == ["a/scan1.mp4", "scan2.avi"]
