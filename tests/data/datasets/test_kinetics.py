"""The Kinetics adapter: official annotations with every layout of the clips, and plain lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import kinetics
from videossl.data.datasets.index import Entry
from videossl.job import UserError

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
TRAIN = (
    HEADER + 'yoga,-3B32lodo2M,59,69,train,0\n"massaging person\'s head",abc_def-123,0,10,train,1\n'
)
VAL = HEADER + "yoga,-3B32lodo2M,1234,1244,val,0\n"
CLIPS = ("-3B32lodo2M_000059_000069", "abc_def-123_000000_000010", "-3B32lodo2M_001234_001244")
LAYOUTS = {
    "spaces": [
        f"train/yoga/{CLIPS[0]}.mp4",
        f"train/massaging person's head/{CLIPS[1]}.mkv",
        f"val/yoga/{CLIPS[2]}.mp4",
    ],
    "underscores": [
        f"train/yoga/{CLIPS[0]}.mp4",
        f"train/massaging_person's_head/{CLIPS[1]}.mp4",
        f"validate/yoga/{CLIPS[2]}.webm",
    ],
    "flat": [f"train/{CLIPS[0]}.mp4", f"train/{CLIPS[1]}.mp4", f"val/{CLIPS[2]}"],
}


def official(root: Path, train: str = TRAIN, val: str = VAL, layout: str = "flat") -> Path:
    texts = {"annotations/train.csv": train, "annotations/val.csv": val}
    return plant(root, texts, LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_official_annotations(tmp_path: Path, layout: str) -> None:
    test = HEADER.replace("label,", "") + "zzzzzzzzzzz,1,11,test,0\n"  # it has no labels
    index = kinetics.read(plant(official(tmp_path, layout=layout), {"annotations/test.csv": test}))
    assert index.classes == ["massaging person's head", "yoga"]
    assert index.root == tmp_path
    first, second, held_out = LAYOUTS[layout]
    assert {entry.name: entry for entry in index.entries} == {
        first: Entry(first, 1, {"1": "train"}),
        second: Entry(second, 0, {"1": "train"}),
        held_out: Entry(held_out, 1, {"1": "test"}),
    }


def test_classes_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = list("gbhfaecd")
    rows = "".join(f"{name},{name},0,10,train,0\n" for name in names)
    val = f"{HEADER}e,z,0,10,val,0\n"
    videos = [f"train/{name}_000000_000010.mp4" for name in names] + ["val/z_000000_000010.mp4"]
    index = kinetics.read(plant(official(tmp_path, HEADER + rows, val), {}, videos))
    assert "".join(index.classes) == "abcdefgh"
    assert [entry.label for entry in index.entries] == [*range(8), 4]


def test_kinetics_600_has_no_is_cc_and_says_validate(tmp_path: Path) -> None:
    short = [
        text.replace(",is_cc", "").replace(",0\n", "\n").replace(",1\n", "\n")
        for text in (TRAIN, VAL)
    ]
    texts = {
        "annotations/train.csv": short[0],
        "annotations/validate.csv": short[1].replace(",val\n", ",validate\n"),
    }
    assert len(kinetics.read(plant(tmp_path, texts, LAYOUTS["underscores"])).entries) == 3


def test_dead_links(tmp_path: Path) -> None:
    (official(tmp_path, layout="spaces") / LAYOUTS["spaces"][0]).unlink()
    message = rf"^1 of 2 videos listed in .*train\.csv are not .*; first: train/{CLIPS[0]}\.mp4$"
    with pytest.raises(UserError, match=message):
        kinetics.read(tmp_path)
    index = kinetics.read(tmp_path, missing=0.5)
    assert index.absent == [f"train/{CLIPS[0]}.mp4"]
    assert index.classes == ["massaging person's head", "yoga"]
    assert [entry.name for entry in index.entries] == LAYOUTS["spaces"][1:]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("yoga,x,1,11", r"train\.csv:4: found 4 fields in 'yoga,x,1,11'; expected 6: label,"),
        ("yoga,x,1,11,Train,0", r"train\.csv:4: found split 'Train' \(perhaps 'train' is meant\);"),
        ("yoga,x,1,11,val,0", r"train\.csv:4: found split 'val'; expected train"),
        ("yoga,x,1.5,11,train,0", r"train\.csv:4: found the time '1\.5'; expected whole seconds"),
        ("yoga,x,1,,train,0", r"train\.csv:4: found the time ''"),
        (",x,1,11,train,0", r"train\.csv:4: found no label or youtube_id"),
        ("yoga,,1,11,train,0", r"train\.csv:4: found no label or youtube_id"),
        ("dance,-3B32lodo2M,59,69,train,0", rf"train\.csv:4: clip {CLIPS[0]} is listed twice"),
        ("dance,twice,1,11,train,0", r"csv:4: found both twice_000001_000011\.mp4 and d/twice_0"),
    ],
)
def test_odd_rows(tmp_path: Path, row: str, message: str) -> None:
    whole = kinetics.read(official(tmp_path)).entries
    plant(tmp_path, {}, [f"train/{place}twice_000001_000011.mp4" for place in ("", "d/")])
    line = odd_line(kinetics.read, official(tmp_path, train=f"{TRAIN}{row}\n"))
    assert re.search(message, line)
    found = {entry.name: entry.splits for entry in kinetics.read(tmp_path).entries}
    assert found == {entry.name: entry.splits for entry in whole}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("yoga,-3B32lodo2M,59,69,val,0", rf"val\.csv:3: clip {CLIPS[0]} is also in the train list"),
        (
            "Yoga,x,1,11,val,0",
            r"val\.csv:3: class 'Yoga' has no clip in .* \(perhaps 'yoga' is meant",
        ),
    ],
)
def test_odd_validation_rows(tmp_path: Path, row: str, message: str) -> None:
    line = odd_line(kinetics.read, official(tmp_path, val=f"{VAL}{row}\n"))
    assert re.search(message, line)


def test_too_many_odd_rows(tmp_path: Path) -> None:
    official(tmp_path, train=TRAIN + "yoga,x,1,11,Train,0\n" * 2)
    with pytest.raises(UserError, match=r"train\.csv:4: .* \(2 of 4 rows are odd; allowed is a"):
        kinetics.read(tmp_path)


def test_clips_named_by_their_video_alone(tmp_path: Path) -> None:
    videos = ["train/yoga/-3B32lodo2M.mp4", f"train/{CLIPS[1]}.mp4", "val/-3B32lodo2M.webm"]
    plant(tmp_path, {"annotations/train.csv": TRAIN, "annotations/val.csv": VAL}, videos)
    assert sorted(entry.name for entry in kinetics.read(tmp_path).entries) == sorted(videos)


def test_a_file_of_two_clips_is_neither(tmp_path: Path) -> None:
    official(tmp_path, train=f"{TRAIN}yoga,-3B32lodo2M,99,109,train,0\n")
    (tmp_path / LAYOUTS["flat"][0]).rename(tmp_path / "train" / "-3B32lodo2M.mp4")
    absent = [f"train/-3B32lodo2M_{times}.mp4" for times in ("000059_000069", "000099_000109")]
    assert kinetics.read(tmp_path, missing=0.7).absent == absent


@pytest.mark.parametrize("name", ["abc_def-123", "abc_def-123_000000_000010"])
def test_lists_without_times_find_either_name(tmp_path: Path, name: str) -> None:
    header = "label,youtube_id,split\n"
    texts = {
        "annotations/train.csv": f"{header}yoga,abc_def-123,train\n",
        "annotations/val.csv": f"{header}yoga,-3B32lodo2M,val\n",
    }
    videos = [f"train/{name}.mp4", "val/-3B32lodo2M.mp4"]
    assert [entry.name for entry in kinetics.read(plant(tmp_path, texts, videos)).entries] == videos


def test_files_that_are_no_videos_are_no_candidates(tmp_path: Path) -> None:
    whole = kinetics.read(official(tmp_path, layout="spaces"))
    system = [
        f"{part}/yoga/{name}" for part in ("train", "val") for name in (".DS_Store", "Thumbs.db")
    ]
    also = ["train/massaging person's head/.DS_Store", "train/massaging person's head/Thumbs.db"]
    sidecars = [
        f"train/yoga/{CLIPS[0]}.{suffix}" for suffix in ("json", "jpg", "en.srt", "mp4.part")
    ]
    plant(tmp_path, {}, [*system, *also, *sidecars, f"train/yoga/._{CLIPS[0]}.mp4"])
    assert kinetics.read(tmp_path) == whole


@pytest.mark.parametrize(
    ("val", "message"),
    [
        (HEADER, r"val\.csv: found no usable row; expected the header"),
        ("", r"val\.csv: found no header; expected the header label,youtube_id"),
        (f"{HEADER}yoga,-3B32lodo2M,59,69,val,0\n", rf"val\.csv:2: clip {CLIPS[0]} is also in the"),
        (f"{HEADER}dance,x,1,11,val,0\n", r"val\.csv:2: class 'dance' has no clip in the train"),
        (VAL.replace("youtube_id", "id"), r"val\.csv:1: found no column 'youtube_id'"),
    ],
)
def test_bad_validation_lists(tmp_path: Path, val: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kinetics.read(official(tmp_path, val=val))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("train.csv", r": found both annotations/train\.csv and train\.csv; expected .* one form"),
        ("annotations/validate.csv", r"annotations: found both val\.csv and validate\.csv"),
        ("validate/a.mp4", r": found both val and validate; expected one of them"),
    ],
)
def test_what_is_there_twice(tmp_path: Path, extra: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kinetics.read(plant(official(tmp_path), {}, [extra]))


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["annotations/val.csv"], r"annotations/val\.csv: list not found; Kinetics' layout has"),
        ([LAYOUTS["flat"][2], "val"], r"val: folder not found; Kinetics' layout has"),
        (["annotations/train.csv", "annotations/val.csv"], r": found no list; Kinetics' layout"),
    ],
)
def test_what_is_missing(tmp_path: Path, gone: list[str], message: str) -> None:
    official(tmp_path)
    for path in (tmp_path / name for name in gone):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message):
        kinetics.read(tmp_path)


def plain(root: Path, train: str, val: str = "val/c.mp4 1\n") -> Path:
    videos = ["train/arm wrestling/a.mp4", "train/b.mp4", "val/c.mp4"]
    return plant(root, {"train.csv": train, "val.csv": val, "test.csv": val}, videos)


PAIRS = "train/arm wrestling/a.mp4 1\n{root}/train/b.mp4 0\n"


def test_lists_of_paths_and_labels(tmp_path: Path) -> None:
    index = kinetics.read(plain(tmp_path, PAIRS.format(root=tmp_path)))
    assert index.classes == ["0", "1"]
    assert index.root == tmp_path
    assert index.entries == [
        Entry("train/arm wrestling/a.mp4", 1, {"1": "train"}),
        Entry("train/b.mp4", 0, {"1": "train"}),
        Entry("val/c.mp4", 1, {"1": "test"}),
    ]


def test_absent_videos_of_plain_lists(tmp_path: Path) -> None:
    plain(tmp_path, f"{PAIRS.format(root=tmp_path)}train/d.mp4 1\n")
    message = r"^1 of 3 videos listed in .*train\.csv are not under .*; first: train/d\.mp4$"
    with pytest.raises(UserError, match=message):
        kinetics.read(tmp_path)
    assert kinetics.read(tmp_path, missing=0.4).absent == ["train/d.mp4"]


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (TRAIN, "", r"train\.csv:1: found 'label,youtube_id.*expected `path label`.*annotations/"),
        ("train/b.mp4 yoga\n", "", r"train\.csv:1: found 'train/b\.mp4 yoga'; expected `path"),
        (
            "../a.mp4 0\n/b.mp4 0\n",
            "",
            r"train\.csv:1: found path '\.\./a\.mp4'; expected one below",
        ),
        ("train/b.mp4 1\n", "", r"train\.csv: found 1 labels from 1 to 1; expected .* in full"),
        ("", "", r"train\.csv: found no usable row"),
        ("train/b.mp4 0\n", "", r"val\.csv: found no usable row"),
        ("train/b.mp4 0\n", "train/b.mp4 0\n", r"val\.csv:1: train/b\.mp4 is listed twice"),
        ("train/b.mp4 0\n", "val/c.mp4 1\n", r"val\.csv:1: found label 1; .* go from 0 to 0"),
    ],
)
def test_bad_plain_lists(tmp_path: Path, train: str, val: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kinetics.read(plain(tmp_path, train, val))


def test_odd_lines_of_plain_lists(tmp_path: Path) -> None:
    pairs = PAIRS.format(root=tmp_path)
    for line in ("./train/b.mp4 0", "../elsewhere.mp4 0", "/etc/passwd 1"):
        plain(tmp_path, f"{pairs}{line}\n")
        assert "train.csv:3: " in odd_line(kinetics.read, tmp_path)
        assert len(kinetics.read(tmp_path).entries) == 3
