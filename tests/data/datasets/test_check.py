"""``check``: what it counts and names, over trees in two official layouts."""

import os
from pathlib import Path

import pytest

from support.trees import plant
from videossl.data.datasets.check import check
from videossl.job import UserError
from videossl.study.schema import FolderData, SyntheticData


def folder(form: str, root: Path, missing: float = 0.0) -> FolderData:
    block = {"format": form, "root": str(root), "missing": missing, "revision": 1}
    return FolderData.model_validate(block)


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    """Four videos of two classes, 3 + 5 bytes among them, in two splits."""
    lists = {
        "classInd.txt": "1 Archery\n2 Biking\n",
        "trainlist01.txt": "Archery/a.avi 1\nBiking/c.avi 2\nBiking/d.avi 2\n",
        "testlist01.txt": "Archery/b.avi\n",
        "trainlist02.txt": "Archery/a.avi 1\n",
        "testlist02.txt": "Archery/b.avi\nBiking/c.avi\nBiking/d.avi\n",
    }
    plant(tmp_path / "ucfTrainTestlist", lists)
    videos = {"Archery/a.avi": "abc", "Archery/b.avi": "", "Biking/d.avi": "abcde"}
    plant(tmp_path / "UCF-101", videos)
    (tmp_path / "UCF-101" / "Biking" / "c.avi").mkdir()
    return tmp_path


def test_every_line(ucf: Path) -> None:
    plant(ucf / "UCF-101", {}, ["Biking/more.avi", "Archery/.DS_Store", "x/1", "x/2"])
    assert check("mine", folder("ucf101", ucf)).split("\n") == [
        f"mine: format ucf101, kind class, root {ucf}",
        "classes: 2",
        "videos: 4, 8 bytes",
        "split 1: 3 train, 1 test",
        "split 2: 1 train, 3 test",
        "absent: 0",
        "not in any list, left out: 4; first: Archery/.DS_Store, Biking/more.avi, x/1",
        "empty or not a file, decode will reject them: 2; first: Archery/b.avi, Biking/c.avi",
    ]


def test_nothing_to_say_beyond_the_counts(ucf: Path) -> None:
    (ucf / "UCF-101" / "Biking" / "c.avi").rmdir()
    plant(ucf / "UCF-101", {"Archery/b.avi": "1", "Biking/c.avi": "22"})
    assert check("mine", folder("ucf101", ucf)).split("\n")[2:] == [
        "videos: 4, 11 bytes",
        "split 1: 3 train, 1 test",
        "split 2: 1 train, 3 test",
        "absent: 0",
    ]


def test_absent_videos_within_the_allowed_share(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(9)]
    splits = "".join(f"{name},{'val' if name < '3' else 'test'}\n" for name in names)
    texts = {"splits.csv": f"video,split\n{splits}", "gaze.csv": "video,frame,x,y\n0.mp4,1,0,0\n"}
    plant(tmp_path, texts)
    plant(tmp_path / "videos", dict.fromkeys(names[:3], "film"))
    assert check("looks", folder("gaze", tmp_path, 0.7)).split("\n") == [
        f"looks: format gaze, kind gaze, root {tmp_path}",
        "classes: 0",
        "videos: 3, 12 bytes",
        "split 1: 3 val",
        "absent: 6; first: 3.mp4, 4.mp4, 5.mp4, 6.mp4, 7.mp4",
    ]
    with pytest.raises(UserError, match=r"^6 of 9 videos listed in"):
        check("looks", folder("gaze", tmp_path, 0.5))


def test_names_that_are_not_utf8_can_be_printed(ucf: Path) -> None:
    (ucf / "UCF-101" / "Archery" / os.fsdecode(b"\xff.avi")).touch()
    text = check("mine", folder("ucf101", ucf))
    assert r"left out: 1; first: Archery/\xff.avi" in text.encode().decode()


def test_links_to_nowhere_will_be_rejected(ucf: Path) -> None:
    video = ucf / "UCF-101" / "Archery" / "a.avi"
    video.unlink()
    video.symlink_to(ucf / "nowhere")
    assert "reject them: 3; first: Archery/a.avi, " in check("mine", folder("ucf101", ucf))


def test_the_built_in_dataset_has_nothing_to_check() -> None:
    block = {
        "format": "synthetic",
        "seed": 0,
        "videos_per_class": 6,
        "frames": 8,
        "size": 32,
        "fps": 8,
        "flicker": 0.0,
    }
    text = check("toy", SyntheticData.model_validate(block))
    assert text == "toy: the built-in dataset is written by `prepare`; there is nothing to check"
