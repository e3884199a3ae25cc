"""``check``: what it counts and names, over trees in two official layouts."""

import os
from pathlib import Path

import pytest

from support.trees import plant
from videossl.data.datasets import gaze, prepare, ucf101
from videossl.data.datasets.check import check, differences
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
    plant(ucf / "UCF-101", {}, ["Biking/more.avi", "Archery/.DS_Store", "x/1", "x/2", "x/2.srt"])
    plant(ucf / "ucfTrainTestlist", {"testlist01.txt": "Archery/b.avi\nArchery/b.avi\n"})
    twice = f"{ucf}/ucfTrainTestlist/testlist01.txt:2: Archery/b.avi is listed twice"
    assert check("mine", folder("ucf101", ucf)).split("\n") == [
        f"mine: format ucf101, labels action (class), root {ucf}",
        "classes: 2",
        "videos: 4, 8 bytes",
        "split 1: 3 train, 1 test",
        "split 2: 1 train, 3 test",
        "absent: 0",
        "odd annotations, left out: 1; first:",
        f"  {twice}",
        "not in any list, left out: 3; first: Biking/more.avi, x/1, x/2",
        "no videos by their names, left out: 1; first: x/2.srt",
        "empty or not a file, decode will reject them: 2; first: Archery/b.avi, Biking/c.avi",
        "classes without a video in split 1 test: 1; first: Biking",
        "classes without a video in split 2 train: 1; first: Biking",
    ]


def test_nothing_to_say_beyond_the_counts(ucf: Path) -> None:
    (ucf / "UCF-101" / "Biking" / "c.avi").rmdir()
    plant(ucf / "UCF-101", {"Archery/b.avi": "1", "Biking/c.avi": "22"})
    assert check("mine", folder("ucf101", ucf)).split("\n")[2:] == [
        "videos: 4, 11 bytes",
        "split 1: 3 train, 1 test",
        "split 2: 1 train, 3 test",
        "absent: 0",
        "classes without a video in split 1 test: 1; first: Biking",
        "classes without a video in split 2 train: 1; first: Biking",
    ]


def test_absent_videos_within_the_allowed_share(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(9)]
    splits = "".join(f"{name},{'val' if name < '3' else 'test'}\n" for name in names)
    texts = {"splits.csv": f"video,split\n{splits}", "gaze.csv": "video,frame,x,y\n0.mp4,1,0,0\n"}
    plant(tmp_path, texts)
    plant(tmp_path / "videos", dict.fromkeys(names[:3], "film"))
    assert check("looks", folder("gaze", tmp_path, 0.7)).split("\n") == [
        f"looks: format gaze, labels gaze (gaze), root {tmp_path}",
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
        "scenes": "class",
    }
    text = check("toy", SyntheticData.model_validate(block))
    assert text == "toy: the built-in dataset is written by `prepare`; there is nothing to check"


def test_loops_of_links_end(ucf: Path) -> None:
    (ucf / "UCF-101" / "Archery" / "up").symlink_to(ucf / "UCF-101")
    assert "not in any list" not in check("mine", folder("ucf101", ucf))


def test_home_in_the_root(ucf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(ucf.parent))
    whole = check("mine", folder("ucf101", ucf)).split("\n")[1:]
    for root in (f"~/{ucf.name}", f"$HOME/{ucf.name}"):
        assert check("mine", folder("ucf101", Path(root))).split("\n")[1:] == whole


@pytest.fixture
def listed(ucf: Path, tmp_path_factory: pytest.TempPathFactory) -> prepare.Listing:
    out = tmp_path_factory.mktemp("prepared")
    prepare.write(ucf101.read(ucf), ucf, out)
    return prepare.read(out, ucf)


def test_nothing_has_changed_since_prepare(ucf: Path, listed: prepare.Listing) -> None:
    assert differences(listed, ucf101.read(ucf)) == []
    assert check("m", folder("ucf101", ucf), listed) == check("m", folder("ucf101", ucf))


def test_what_has_changed_since_prepare(ucf: Path, listed: prepare.Listing) -> None:
    lists = {
        "trainlist01.txt": "Archery/a.avi 1\nBiking/new.avi 2\nBiking/d.avi 2\n",
        "testlist02.txt": "Archery/b.avi\nBiking/d.avi\nBiking/new.avi\n",
        "trainlist02.txt": "Archery/x.avi\n",
    }
    plant(ucf / "ucfTrainTestlist", lists)
    videos = {"Archery/a.avi": "abc", "Archery/b.avi": "1234", "Archery/x.avi": ""}
    plant(ucf / "UCF-101", videos, ["Biking/new.avi"])
    lines = [
        "added since prepare: 2; first: Archery/x.avi, Biking/new.avi",
        "removed since prepare: 1; first: Biking/c.avi",
        "changed size since prepare: 1; first: Archery/b.avi",
        "changed class or split since prepare: 1; first: Archery/a.avi",
    ]
    assert differences(listed, ucf101.read(ucf)) == lines
    assert check("m", folder("ucf101", ucf), listed).split("\n")[-4:] == lines


def test_other_classes_than_prepare_found(ucf: Path, listed: prepare.Listing) -> None:
    plant(ucf / "ucfTrainTestlist", {"classInd.txt": "1 Archery\n2 Biking\n3 Diving\n"})
    assert differences(listed, ucf101.read(ucf)) == ["changed classes since prepare: 2 then, 3 now"]


def test_unlabelled_videos_are_unchanged(tmp_path: Path) -> None:
    texts = {
        "splits.csv": "video,split\na.mp4,test\n",
        "gaze.csv": "video,frame,x,y\na.mp4,1,0,0\n",
    }
    plant(tmp_path, texts, ["videos/a.mp4"])
    prepare.write(gaze.read(tmp_path), tmp_path, tmp_path)
    assert differences(prepare.read(tmp_path, tmp_path), gaze.read(tmp_path)) == []
