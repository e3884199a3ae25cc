"""The UCF101 adapter: what it reads, and one clear line for each kind of bad list."""

import re
from pathlib import Path

import pytest

from support.trees import odd_line
from videossl.data.datasets import ucf101
from videossl.data.datasets.index import Entry
from videossl.job import UserError

NAMES = [f"{c}/v_{c}_g0{g}_c01.avi" for c in ("Archery", "Biking") for g in (1, 2)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "UCF-101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lists = {
        "classInd.txt": "1 Archery\r\n2 Biking\r\n",
        "trainlist01.txt": f"{NAMES[1]} 1\n{NAMES[3]} 2\n",
        "testlist01.txt": f"{NAMES[0]}\n{NAMES[2]}\n",
        "trainlist02.txt": f"{NAMES[0]} 1\n{NAMES[2]} 2\n\n",
        "testlist02.txt": f"{NAMES[1]}\n{NAMES[3]}\n",
    }
    for name, text in lists.items():
        rewrite(tmp_path, name, text)
    return tmp_path


def rewrite(root: Path, name: str, text: str) -> None:
    path = root / "ucfTrainTestlist" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())


def test_every_video_once_with_all_its_splits(root: Path) -> None:
    index = ucf101.read(root)
    assert index.classes == ["Archery", "Biking"]
    assert index.root == root / "UCF-101"
    assert [entry.name for entry in index.entries] == sorted(NAMES)
    assert index.entries[0] == Entry(NAMES[0], 0, {"1": "test", "2": "train"})
    assert index.entries[3] == Entry(NAMES[3], 1, {"1": "train", "2": "test"})


def test_splits_two_and_three_may_be_absent(root: Path) -> None:
    for name in ("trainlist02.txt", "testlist02.txt"):
        (root / "ucfTrainTestlist" / name).unlink()
    assert {tuple(entry.splits) for entry in ucf101.read(root).entries} == {("1",)}


def test_videos_that_are_not_listed_are_left_out(root: Path) -> None:
    (root / "UCF-101" / "Biking" / "extra.avi").touch()
    assert len(ucf101.read(root).entries) == len(NAMES)


@pytest.mark.parametrize("name", ["classInd.txt", "trainlist01.txt", "testlist02.txt"])
def test_missing_list(root: Path, name: str) -> None:
    (root / "ucfTrainTestlist" / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: not found"):
        ucf101.read(root)


def test_missing_folder(root: Path) -> None:
    with pytest.raises(UserError, match="nowhere/UCF-101: folder not found"):
        ucf101.read(root / "nowhere")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classInd.txt", "1 Archery\nBiking\n", r"classInd.txt:2: found 'Biking'"),
        ("classInd.txt", "1 Archery\n1 Biking\n", r"classInd.txt:2: .*listed twice"),
        ("classInd.txt", "1 Archery\n3 Biking\n", r"classInd.txt: found 2 classes"),
        ("classInd.txt", "", r"classInd.txt: found 0 classes"),
        ("trainlist01.txt", "", r"trainlist01.txt: found no usable row"),
        ("testlist01.txt", f"\n{NAMES[0]} 2\n", r"testlist01.txt:2: found label 2; .* has 1"),
        ("testlist01.txt", "Fencing/v.avi\n", r"testlist01.txt:1: class 'Fencing' is not in"),
        (
            "testlist01.txt",
            f"{NAMES[1]}\n",
            r"testlist01.txt: .* also in the train part of split 1",
        ),
    ],
)
def test_bad_lists(root: Path, name: str, text: str, message: str) -> None:
    rewrite(root, name, text)
    with pytest.raises(UserError, match=message):
        ucf101.read(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"testlist01.txt:3: found 'nonsense'"),
        (f"{NAMES[0]} 2", r"testlist01.txt:3: found label 2; .* has 1"),
        ("archery/v.avi", r"class 'archery' is not in classInd.txt \(perhaps 'Archery' is meant"),
        ("Archery/..", r"testlist01.txt:3: found 'Archery/\.\.'"),
        (NAMES[0], r"testlist01.txt:3: .* is listed twice"),
        (NAMES[1], r"testlist01.txt:3: .* also in the train part of split 1"),
    ],
)
def test_odd_lines(root: Path, line: str, message: str) -> None:
    whole = ucf101.read(root).entries
    rewrite(root, "testlist01.txt", f"{NAMES[0]}\n{NAMES[2]}\n{line}\n")
    assert re.search(message, odd_line(ucf101.read, root))
    assert ucf101.read(root).entries == whole


def test_names_in_other_letters_are_named(root: Path) -> None:
    archery = root / "UCF-101" / "Archery"
    (archery / "v_Archery_g01_c01.avi").rename(archery / "v_archery_g01_c01.avi")
    message = (
        r"first: Archery/v_Archery_g01_c01\.avi; Archery/v_archery_g01_c01\.avi is there: upper"
    )
    with pytest.raises(UserError, match=message):
        ucf101.read(root)


def test_list_that_is_not_text(root: Path) -> None:
    (root / "ucfTrainTestlist" / "classInd.txt").write_bytes(b"1 \xff\xfe\n")
    with pytest.raises(UserError, match=r"classInd\.txt:1: not UTF-8"):
        ucf101.read(root)


def test_listed_videos_that_are_not_there_are_counted(root: Path) -> None:
    (root / "UCF-101" / NAMES[3]).unlink()
    with pytest.raises(
        UserError,
        match=rf"^1 of 2 videos listed in .*trainlist01\.txt are not "
        rf"under .*UCF-101; first: {NAMES[3]}$",
    ):
        ucf101.read(root)
