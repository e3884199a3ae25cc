"""The HMDB51 adapter, on a tree of two classes and its three official splits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import hmdb51
from videossl.data.datasets.index import Entry
from videossl.job import UserError

BRUSH = "April_09_brush_hair_u_nm_np1_ba_goo_0.avi"
ODD = "#20_Rhythm_clap_[v];&a b_u_nm_np1_fr_med_0.avi"
USES = {  # video -> its number in splits 1, 2 and 3
    f"brush_hair/{BRUSH}": "121",
    "brush_hair/b.avi": "210",
    "brush_hair/unused.avi": "000",
    f"clap/{ODD}": "112",
    "clap/c.avi": "221",
}
LISTS = "testTrainMulti_7030_splits"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    texts: dict[str, str] = {f"{LISTS}/readme.txt": "70 train, 30 test"}
    for name, uses in USES.items():
        of_class, video = name.split("/")
        for split, use in enumerate(uses, 1):
            path = f"{LISTS}/{of_class}_test_split{split}.txt"
            texts[path] = texts.get(path, "") + f"{video} {use} \n"
    return plant(tmp_path, texts, [f"hmdb51_org/{name}" for name in USES])


def test_every_used_video_once_with_its_splits(root: Path) -> None:
    index = hmdb51.read(root)
    assert index.classes == ["brush_hair", "clap"]
    assert index.root == root / "hmdb51_org"
    assert index.entries == [
        Entry(f"brush_hair/{BRUSH}", 0, {"1": "train", "2": "test", "3": "train"}),
        Entry("brush_hair/b.avi", 0, {"1": "test", "2": "train"}),
        Entry(f"clap/{ODD}", 1, {"1": "train", "2": "train", "3": "test"}),
        Entry("clap/c.avi", 1, {"1": "test", "2": "test", "3": "train"}),
    ]
    assert index.absent == []


def test_later_splits_may_be_absent_as_a_whole(root: Path) -> None:
    for path in (root / LISTS).glob("*_test_split3.txt"):
        path.unlink()
    assert {split for entry in hmdb51.read(root).entries for split in entry.splits} == {"1", "2"}


def test_absent_videos(root: Path) -> None:
    (root / "hmdb51_org" / "clap" / "c.avi").unlink()
    (root / "hmdb51_org" / "brush_hair" / "unused.avi").unlink()
    message = r"^1 of 4 videos listed in .*_test_split1\.txt are not under .*; first: clap/c\.avi$"
    with pytest.raises(UserError, match=message):
        hmdb51.read(root)
    with pytest.raises(UserError, match=r"^1 of 3 videos listed in .*_test_split3\.txt"):
        hmdb51.read(root, missing=0.25)
    index = hmdb51.read(root, missing=0.34)
    assert index.absent == ["clap/c.avi"]
    assert len(index.entries) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b.avi\n", r"clap_test_split2\.txt:1: found 'b\.avi'; expected `video\.avi 1`"),
        ("clap/c.avi 1\n", r"split2\.txt:1: found 'clap/c\.avi 1'"),
        ("c.avi\nb.avi\n", r"split2\.txt:1: found 'c\.avi'; .* \(2 of 2 rows are odd"),
        ("\n", r"split2\.txt: found no usable row"),
    ],
)
def test_bad_lists(root: Path, text: str, message: str) -> None:
    plant(root, {f"{LISTS}/clap_test_split2.txt": text})
    with pytest.raises(UserError, match=message):
        hmdb51.read(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c.avi 3", r"split2\.txt:2: found 'c\.avi 3'; expected .*0 is not used"),
        ("c.avi 2", r"split2\.txt:2: c\.avi is listed twice"),
        ("../c.avi 1", r"split2\.txt:2: found '\.\./c\.avi 1'"),
    ],
)
def test_odd_lines(root: Path, line: str, message: str) -> None:
    plant(root, {f"{LISTS}/clap_test_split2.txt": f"c.avi 1\n{line}\n"})
    assert re.search(message, odd_line(hmdb51.read, root))
    assert hmdb51.read(root).entries[-1].splits == {"1": "test", "2": "train", "3": "train"}


@pytest.mark.parametrize("split", [1, 2])
def test_split_without_the_list_of_one_class(root: Path, split: int) -> None:
    (root / LISTS / f"clap_test_split{split}.txt").unlink()
    with pytest.raises(UserError, match=rf"clap_test_split{split}\.txt: not found; .* every class"):
        hmdb51.read(root)


def test_missing_folders(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hmdb51_org: folder not found; HMDB51's layout has"):
        hmdb51.read(tmp_path / "nowhere")
    for path in (root / LISTS).iterdir():
        path.unlink()
    with pytest.raises(UserError, match=f"{LISTS}: found no list"):
        hmdb51.read(root)
