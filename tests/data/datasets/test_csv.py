"""The adapter of one table of videos."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import csv
from videossl.data.datasets.index import Entry
from videossl.job import UserError

HEADER = "path,label,split\n"
ROWS = "clips/b.mp4,walk,train\na.avi,run,train\n"
VIDEOS = ["clips/b.mp4", "a.avi", "clips/c, d.mp4", "e.mp4"]
TABLE = f'{HEADER}{ROWS}"clips/c, d.mp4",walk,val\n./e.mp4, run , test\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path, {"videos.csv": TABLE}, VIDEOS)


def test_labels_and_parts(root: Path) -> None:
    index = csv.read(root)
    assert index.classes == ["run", "walk"]
    assert index.root == root
    assert index.entries == [
        Entry("a.avi", 0, {"1": "train"}),
        Entry("clips/b.mp4", 1, {"1": "train"}),
        Entry("clips/c, d.mp4", 1, {"1": "val"}),
        Entry("e.mp4", 0, {"1": "test"}),
    ]


def test_the_root_may_be_the_file(root: Path) -> None:
    table = (root / "videos.csv").rename(root / "mine.csv")
    assert csv.read(table).root == root
    assert len(csv.read(table).entries) == 4


def test_val_plays_test_where_no_video_is_in_test(root: Path) -> None:
    plant(root, {"videos.csv": f"{HEADER}{ROWS}e.mp4,run,val\n"})
    assert csv.read(root).entries[-1] == Entry("e.mp4", 0, {"1": "test"})


def test_columns_in_any_order_and_others_beside_them(root: Path) -> None:
    text = "fps,split,path,label\n25,train,a.avi,run\n,test,e.mp4,run\n"
    plant(root, {"videos.csv": f"\ufeff{text}"})
    assert [entry.name for entry in csv.read(root).entries] == ["a.avi", "e.mp4"]


def test_absolute_paths_below_the_folder_and_links_to_it(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    rows = f"{root}/a.avi,run,train\n{link}/e.mp4,run,test\n"
    plant(root, {"videos.csv": HEADER + rows})
    assert [entry.name for entry in csv.read(link).entries] == ["a.avi", "e.mp4"]


@pytest.mark.parametrize("name", ["../a.avi", "{root}/a.avi", "/dev/zero", "x/../../a.avi", "."])
def test_paths_that_leave_the_folder_are_odd(root: Path, name: str) -> None:
    text = f"{HEADER}b.mp4,run,train\nc.mp4,run,test\n{name.format(root=root)},run,test\n"
    plant(root / "data", {"videos.csv": text}, ["b.mp4", "c.mp4"])
    line = odd_line(csv.read, root / "data")
    assert re.search(
        r"videos\.csv:4: found path '.*'; expected one below the table's folder$", line
    )
    assert [entry.name for entry in csv.read(root / "data").entries] == ["b.mp4", "c.mp4"]


def test_links_may_lead_anywhere(root: Path) -> None:
    plant(root / "data", {"videos.csv": f"{HEADER}far/a.avi,run,train\nfar/e.mp4,run,test\n"})
    (root / "data" / "far").symlink_to(root)
    assert len(csv.read(root / "data").entries) == 2


def test_carriage_returns(root: Path) -> None:
    whole = csv.read(root)
    plant(root, {"videos.csv": TABLE.replace("\n", "\r\n")})
    assert csv.read(root) == whole


def test_absent_videos(root: Path) -> None:
    (root / "e.mp4").unlink()
    (root / "a.avi").unlink()
    (root / "a.avi").symlink_to("nowhere")  # decode says what is wrong with it
    message = r"^1 of 4 videos listed in .*videos\.csv are not under .*; first: e\.mp4$"
    with pytest.raises(UserError, match=message):
        csv.read(root)
    index = csv.read(root, missing=0.25)
    assert index.absent == ["e.mp4"]
    assert len(index.entries) == 3


@pytest.mark.parametrize(
    ("listed", "there", "how"),
    [
        ("clips/caf\u00e9.mp4", "clips/cafe\u0301.mp4", "its letters are composed otherwise"),
        ("clips/Run.mp4", "clips/run.MP4", "upper and lower case differ"),
        ("Run.mp4", "run.mp4", "upper and lower case differ"),
    ],
)
def test_an_absent_video_that_is_there_but_for_its_spelling(
    root: Path, listed: str, there: str, how: str
) -> None:
    plant(root, {"videos.csv": f"{TABLE}{listed},run,test\n"}, [there])
    with pytest.raises(UserError, match=f"; first: {listed}; {there} is there: {how}$"):
        csv.read(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("f.mp4,run", r"videos\.csv:6: found 2 fields in 'f\.mp4,run'"),
        ("f.mp4,run,dev", r":6: found split 'dev'; expected train, val or test$"),
        (
            "f.mp4,run,Train",
            r":6: found split 'Train' \(perhaps 'train' is meant\); expected train, ",
        ),
        ("f.mp4,,test", r"videos\.csv:6: found no path or label"),
        (",run,test", r"videos\.csv:6: found no path or label"),
        ("./a.avi,run,test", r"videos\.csv:6: a\.avi is listed twice"),
        ("f.mp4,jump,test", r"videos\.csv:6: class 'jump' has no video in train"),
        ("f\0.mp4,run,test", r"videos\.csv:6: found path 'f\\x00\.mp4'"),
    ],
)
def test_odd_rows(root: Path, line: str, message: str) -> None:
    whole = csv.read(root)
    plant(root, {"videos.csv": f"{TABLE}{line}\n"}, ["f.mp4"])
    assert re.search(message, odd_line(csv.read, root))
    assert csv.read(root).entries == whole.entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label,split\na.mp4,run,train\nb.mp4,jump,test\n",
            (
                r"found train; expected videos in train and in test or val; odd rows are left out "
                r"\(1\), first: .*videos\.csv:3: class 'jump' has no video in train$"
            ),
        ),
        (
            "path,label,fold\na.mp4,run,1\nb.mp4,,2\n",
            (
                r"found the fold 1 only; expected at least two; odd rows are left out \(1\), "
                r"first: .*videos\.csv:3: found no path or label"
            ),
        ),
    ],
)
def test_a_part_that_is_empty_because_its_rows_are_odd(root: Path, text: str, message: str) -> None:
    plant(root, {"videos.csv": text}, ["a.mp4", "b.mp4"])
    with pytest.raises(UserError, match=message):
        csv.read(root)


def test_too_many_odd_rows(root: Path) -> None:
    plant(root, {"videos.csv": f"{TABLE}f.mp4,run,Test\ng.mp4,run,Test\n"})
    message = (
        r"videos\.csv:6: found split 'Test' .* \(2 of 6 rows are odd; allowed is a share of 0\.01"
    )
    with pytest.raises(UserError, match=message):
        csv.read(root)
    assert len(csv.read(root, missing=0.4).odd) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, r"videos\.csv:1: found no column 'path' in 'clips/b\.mp4,walk,train'; expected the"),
        ("path;label;split\n", r"csv:1: found no column 'path' .* separated by commas, not by ';'"),
        (f"{HEADER}{ROWS}", r"videos\.csv: found train; expected videos in train and in test"),
        (HEADER, r"videos\.csv: found no usable row; expected the header"),
        (
            f"{HEADER}a.avi,run,Train\n",
            r"found no usable row; .*; .*videos\.csv:2: found split 'Tr",
        ),
        ("", r"videos\.csv: found no header"),
    ],
)
def test_bad_tables(root: Path, text: str, message: str) -> None:
    plant(root, {"videos.csv": text})
    with pytest.raises(UserError, match=message):
        csv.read(root)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252"])
def test_other_encodings(root: Path, encoding: str) -> None:
    (root / "videos.csv").write_bytes(f"{TABLE}é.mp4,run,test\n".encode(encoding))
    with pytest.raises(UserError, match=r"videos\.csv:\d: not UTF-8 text; .*`iconv -t UTF-8`"):
        csv.read(root)


def test_missing_table(root: Path) -> None:
    with pytest.raises(UserError, match=r"clips/videos\.csv: not found; expected the header"):
        csv.read(root / "clips")


def test_folds_are_splits_that_test_on_one_and_train_on_the_others(root: Path) -> None:
    rows = 'a.avi,run,10\ne.mp4,run, 2\nclips/b.mp4,walk,2\n"clips/c, d.mp4",walk,1\n'
    plant(root, {"videos.csv": f"path,label,fold\n{rows}"})
    index = csv.read(root)
    assert index.classes == ["run", "walk"]
    tested = {
        split: [entry.name for entry in index.entries if entry.splits[split] == "test"]
        for split in ("1", "2", "3")
    }
    assert tested == {"1": ["clips/c, d.mp4"], "2": ["clips/b.mp4", "e.mp4"], "3": ["a.avi"]}
    assert {part for entry in index.entries for part in entry.splits.values()} == {"train", "test"}
    assert {len(entry.splits) for entry in index.entries} == {3}


@pytest.mark.parametrize("folds", [("2", "10", "9"), ("2.0", "10.0", "9.0"), ("b", "d", "c")])
def test_the_nth_split_tests_the_nth_fold(root: Path, folds: tuple[str, ...]) -> None:
    names = ("a.avi", "clips/b.mp4", "e.mp4")
    rows = "".join(f"{name},run,{fold}\n" for name, fold in zip(names, folds, strict=True))
    plant(root, {"videos.csv": f"path,label,fold\n{rows}"})
    tested = {
        e.name: [s for s, part in e.splits.items() if part == "test"]
        for e in csv.read(root).entries
    }
    assert tested == {"a.avi": ["1"], "clips/b.mp4": ["3"], "e.mp4": ["2"]}


def test_a_digit_that_is_no_number_names_a_fold(root: Path) -> None:
    plant(root, {"videos.csv": "path,label,fold\na.avi,run,²\ne.mp4,run,2\nclips/b.mp4,run,b\n"})
    tested = [sorted(e.splits, key=e.splits.__getitem__)[0] for e in csv.read(root).entries]
    assert tested == ["2", "1", "3"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("path,label,fold\na.avi,run,1\ne.mp4,run,1\n", "found the fold 1 only; expected at least"),
        ("path,label,fold\na.avi,run,\n", "found no fold; expected its number or name"),
        ("path,label,part\na.avi,run,1\n", "found no column 'split' in 'path,label,part'"),
    ],
)
def test_folds_that_are_none(root: Path, table: str, said: str) -> None:
    plant(root, {"videos.csv": table})
    with pytest.raises(UserError, match=said):
        csv.read(root)
