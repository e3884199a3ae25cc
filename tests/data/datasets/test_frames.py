"""Labelled frames and gaze: what is read, and one clear line for each kind of bad list."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.trees import plant
from videossl.data.datasets import frames
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
    index = frames.read(root)
    assert index.classes == []
    points = [[3, 1.0, 0.125], [7, 0.0, 1.0], [7, 0.5, 0.25]]
    assert [entry.annotations for entry in index.entries] == [
        {"gaze": []},
        {"gaze": points},
        {"gaze": []},
    ]


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


def test_one_of_both_lists(root: Path) -> None:
    with pytest.raises(UserError, match=r"found none of frames\.csv and gaze\.csv"):
        frames.read(root)
    plant(root, {"frames.csv": CLASSES, "gaze.csv": GAZE})
    with pytest.raises(UserError, match=r"found both of frames\.csv and gaze\.csv"):
        frames.read(root)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("splits.csv", "video,part\na,train\n", r"splits\.csv:1: found no column 'split'"),
        (
            "splits.csv",
            SPLITS + "extra.mp4,dev\n",
            r"splits\.csv:5: found video 'extra.mp4' and sp",
        ),
        ("splits.csv", SPLITS + ",test\n", r"splits\.csv:5: found video ''"),
        ("splits.csv", SPLITS + "scan2.avi,test\n", r"splits\.csv:5: scan2\.avi is listed twice"),
        ("splits.csv", "video,split\n", r"splits\.csv: found no video"),
        ("frames.csv", CLASSES + "scan2.avi,7,thigh\n", r"frames\.csv:5: frame 7 of scan2\.avi is"),
        ("frames.csv", CLASSES + "extra.mp4,7,thigh\n", r"frames\.csv:5: found video 'extra\.mp4'"),
        ("frames.csv", CLASSES + "scan2.avi,-1,thigh\n", r"frames\.csv:5: found frame '-1'"),
        ("frames.csv", CLASSES + "scan2.avi,8,\n", r"frames\.csv:5: found no class"),
        ("frames.csv", "video,frame,class\n", r"frames\.csv: found no frame"),
        ("gaze.csv", GAZE + "scan2.avi,1.5,0,0\n", r"gaze\.csv:5: found frame '1\.5'"),
        (
            "gaze.csv",
            GAZE + "scan2.avi,1,1.01,0\n",
            r"gaze\.csv:5: found '1\.01'; expected a share",
        ),
        ("gaze.csv", GAZE + "scan2.avi,1,0,nan\n", r"gaze\.csv:5: found 'nan'; expected a share"),
        ("gaze.csv", GAZE + "scan2.avi,1,0\n", r"gaze\.csv:5: found 3 fields"),
        ("gaze.csv", "video,frame,x,y\n", r"gaze\.csv: found no gaze point"),
    ],
)
def test_bad_lists(root: Path, name: str, text: str, message: str) -> None:
    texts = {"frames.csv": CLASSES} if name == "splits.csv" else {}
    plant(root, texts | {name: text})
    with pytest.raises(UserError, match=message):
        frames.read(root)


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
