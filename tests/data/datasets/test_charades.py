"""The Charades adapter: actions of both lists, and one clear line for each kind of bad list."""

import re
from pathlib import Path

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import charades
from videossl.data.datasets.index import UNLABELLED, Entry
from videossl.job import UserError

HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
CLASSES = "c000 Holding some clothes\nc001 Putting clothes somewhere\nc002 Taking a bag\n"


def row(name: str, actions: str, length: str = "24.83") -> str:
    script = '"A ""script"", with a comma"'
    return f'{name},HR43,Kitchen,6,7,Yes,{script},ladder,"two\nlines",{actions},{length}\n'


TRAIN = HEADER + row("46GP8", "c002 11.90 21.20;c001 0.00 12.60") + row("N11GT", "", "17.58")
TEST = HEADER + row("0A8CF", "c000 3 30.5")  # ends after the video: so does some official data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    plant(tmp_path / "Charades_v1_480", {}, ["46GP8.mp4", "N11GT.mp4", "0A8CF.mp4", "extra.mp4"])
    lists = {
        "Charades_v1_classes.txt": CLASSES,
        "Charades_v1_train.csv": TRAIN,
        "Charades_v1_test.csv": TEST,
    }
    plant(tmp_path / "Charades", lists)
    return tmp_path


def test_actions_of_every_listed_video(root: Path) -> None:
    index = charades.read(root)
    assert index.classes == ["Holding some clothes", "Putting clothes somewhere", "Taking a bag"]
    assert index.root == root / "Charades_v1_480"
    late = {"class": 0, "start": 3.0, "end": 30.5}
    two = [{"class": 2, "start": 11.9, "end": 21.2}, {"class": 1, "start": 0.0, "end": 12.6}]
    test, train = {"1": "test"}, {"1": "train"}
    assert index.entries == [
        Entry("0A8CF.mp4", UNLABELLED, test, {"actions": [late], "length": 24.83}),
        Entry("46GP8.mp4", UNLABELLED, train, {"actions": two, "length": 24.83}),
        Entry("N11GT.mp4", UNLABELLED, train, {"actions": [], "length": 17.58}),
    ]
    assert index.absent == []


def test_the_original_size_where_the_small_one_is_not_there(root: Path) -> None:
    (root / "Charades_v1_480").rename(root / "Charades_v1")
    assert charades.read(root).root == root / "Charades_v1"
    plant(root / "Charades_v1_480", {}, ["46GP8.mp4", "N11GT.mp4", "0A8CF.mp4"])
    assert charades.read(root).root == root / "Charades_v1_480"


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("Charades_v1_480", "Charades_v1_480: folder not"),
        ("Charades", "Charades: folder not found"),
    ],
)
def test_missing_folder(root: Path, folder: str, message: str) -> None:
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(UserError, match=message):
        charades.read(root)


@pytest.mark.parametrize("name", ["classes.txt", "train.csv", "test.csv"])
def test_missing_list(root: Path, name: str) -> None:
    (root / "Charades" / f"Charades_v1_{name}").unlink()
    with pytest.raises(UserError, match=rf"Charades_v1_{name}: not found; expected"):
        charades.read(root)


@pytest.mark.parametrize(
    ("row_", "message"),
    [
        ("A,B\n", r"train\.csv:6: found 2 fields"),
        (row("46GP8", ""), r"train\.csv:7: 46GP8 is listed twice"),
        (row("../a", ""), r"train\.csv:7: found id '\.\./a'"),
        (row("", ""), r"train\.csv:7: found id ''"),
        (row("A", "", "long"), r"train\.csv:7: found length 'long'"),
        (row("A", "", "0"), r"train\.csv:7: found length '0'"),
    ],
)
def test_odd_rows(root: Path, row_: str, message: str) -> None:
    whole = charades.read(root).entries
    plant(root / "Charades", {"Charades_v1_train.csv": TRAIN + row_})
    assert re.search(message, odd_line(charades.read, root))
    assert charades.read(root).entries == whole


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("c001 1", r"train\.csv:3: found action 'c001 1'; expected `c092"),
        ("c001 nan 2", r"train\.csv:3: found action"),
        ("c001 -1 2", r"train\.csv:3: found action"),
        ("c003 1 2", r"has c000 to c002"),
        ("c001 3.5 2", r"train\.csv:3: found action 'c001 3\.5 2'; it ends before it starts$"),
    ],
)
def test_odd_actions_cost_nothing_else(root: Path, action: str, message: str) -> None:
    whole = charades.read(root).entries
    text = TRAIN.replace(";c001 0.00 12.60", f"; {action};c001 0.00 12.60;")
    plant(root / "Charades", {"Charades_v1_train.csv": text})
    assert re.search(message, odd_line(charades.read, root))
    assert charades.read(root).entries == whole


def test_a_list_as_long_as_the_official_one(root: Path) -> None:
    """7,985 training videos, of which seven have an action that ends before it starts."""
    names = [f"V{number:04d}" for number in range(7985)]
    rows = [row(name, "c000 1.00 2.00" + ";c001 18.00 10.00" * (name < "V0007")) for name in names]
    videos = root / "Charades_v1_480"
    for name in names:
        (videos / f"{name}.mp4").touch()
    plant(root / "Charades", {"Charades_v1_train.csv": HEADER + "".join(rows)})
    index = charades.read(root)
    assert len(index.entries) == 7986
    assert [line.split("train.csv:")[1] for line in index.odd] == [
        f"{2 * number + 3}: found action 'c001 18.00 10.00'; it ends before it starts"
        for number in range(7)
    ]


def test_a_video_of_both_lists_trains(root: Path) -> None:
    plant(root / "Charades", {"Charades_v1_test.csv": TEST + row("46GP8", "")})
    assert "test.csv:5: 46GP8 is also in the train list" in odd_line(charades.read, root)
    assert {entry.name: entry.splits["1"] for entry in charades.read(root).entries} == {
        "0A8CF.mp4": "test",
        "46GP8.mp4": "train",
        "N11GT.mp4": "train",
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", "c000 A\n\nc002 B\n", r"classes\.txt:3: found 'c002 B'"),
        ("classes.txt", "c000 A\nB\n", r"classes\.txt:2: found 'B'"),
        ("classes.txt", "\n", r"classes\.txt: found no class"),
        ("train.csv", "id,length\nA,1\n", r"train\.csv:1: found no column 'actions'"),
        ("train.csv", HEADER, r"train\.csv: found no usable row"),
        ("train.csv", TRAIN + "A,B\n" * 2, r"train\.csv:6: found 2 fields.* \(2 of 4 rows are odd"),
    ],
)
def test_bad_lists(root: Path, name: str, text: str, message: str) -> None:
    plant(root / "Charades", {f"Charades_v1_{name}": text})
    with pytest.raises(UserError, match=message):
        charades.read(root)


def test_absent_videos_up_to_the_allowed_share(root: Path) -> None:
    (root / "Charades_v1_480" / "N11GT.mp4").unlink()
    message = r"^1 of 2 videos listed in .*train\.csv are not under .*; first: N11GT\.mp4$"
    with pytest.raises(UserError, match=message):
        charades.read(root)
    index = charades.read(root, missing=0.5)
    assert index.absent == ["N11GT.mp4"]
    assert [entry.name for entry in index.entries] == ["0A8CF.mp4", "46GP8.mp4"]
