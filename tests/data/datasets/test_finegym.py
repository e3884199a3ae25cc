"""The FineGym adapters: Gym99 and Gym288 from one folder of clips, and bad lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.trees import odd_line, plant
from videossl.data.datasets import gym99, gym288
from videossl.data.datasets.index import Entry
from videossl.job import UserError

ELEMENTS = [f"A0xAXXysHUo_E_002184_002237_A_00{second}_0036" for second in (33, 34, 35)]
CATEGORIES = (
    "Clabel: 0; set: 1; Glabel: 1; (VT) round-off, flic-flac on, stretched salto off\n"
    "Clabel: 1; set: 21; Glabel: 20; (FX) switch leap\n"
)
TRAIN = f"{ELEMENTS[0]} 1\n{ELEMENTS[1]} 0\n"
VAL = f"{ELEMENTS[2]} 1\n"
LISTS = {
    "gym99_categories.txt": CATEGORIES,
    "gym99_train_element_v1.1.txt": TRAIN,
    "gym99_val_element.txt": VAL,
    "gym288_categories.txt": f"{CATEGORIES}Clabel:   2; set: 21; Glabel: 22; (FX) split leap\n",
    "gym288_train_element_v1.0.txt": TRAIN.replace(" 0", " 2"),
    "gym288_val_element.txt": VAL,
}


def tree(root: Path, place: str = "annotations/", **changed: str) -> Path:
    texts = LISTS | {name: changed[key] for key in changed for name in LISTS if key in name}
    videos = [f"videos/{name}.mp4" for name in ELEMENTS]
    return plant(root, {f"{place}{name}": text for name, text in texts.items()}, videos)


@pytest.mark.parametrize("place", ["annotations/", ""])
def test_both_releases(tmp_path: Path, place: str) -> None:
    index = gym99.read(tree(tmp_path, place))
    assert index.classes == [
        "(VT) round-off, flic-flac on, stretched salto off",
        "(FX) switch leap",
    ]
    assert index.root == tmp_path / "videos"
    assert index.entries == [
        Entry(f"{ELEMENTS[0]}.mp4", 1, {"1": "train"}),
        Entry(f"{ELEMENTS[1]}.mp4", 0, {"1": "train"}),
        Entry(f"{ELEMENTS[2]}.mp4", 1, {"1": "test"}),
    ]
    assert [entry.label for entry in gym288.read(tmp_path).entries] == [1, 2, 1]


def test_the_newer_training_list(tmp_path: Path) -> None:
    plant(tree(tmp_path), {"annotations/gym99_train_element_v1.0.txt": "nonsense\n"})
    assert len(gym99.read(tmp_path).entries) == 3


@pytest.mark.parametrize(
    ("list_", "line", "message"),
    [
        (
            "gym99_train",
            "nonsense 1",
            r"v1\.1\.txt:3: found 'nonsense 1'; expected `A0xAXXysHUo_E_",
        ),
        ("gym99_train", ELEMENTS[0], r"v1\.1\.txt:3: found .*; expected"),
        ("gym99_train", "x_E_1_2_A_3_4 2", r"v1\.1\.txt:3: found label 2; .* go from 0 to 1"),
        ("gym99_train", f"{ELEMENTS[0]} 0", r"v1\.1\.txt:3: .* is listed twice"),
        ("gym99_train", "b_E_1_2_A_3_4 1", r"v1\.1\.txt:3: found both b_E_.*\.avi and more/b_E_"),
        ("gym99_val", f"{ELEMENTS[0]} 1", r"val_element\.txt:2: .* is also in the train list"),
    ],
)
def test_odd_lines(tmp_path: Path, list_: str, line: str, message: str) -> None:
    whole = gym99.read(tree(tmp_path)).entries
    text = {"gym99_train": TRAIN, "gym99_val": VAL}[list_]
    tree(tmp_path, **{list_: f"{text}{line}\n"})
    plant(
        tmp_path, {}, [f"videos/{name}" for name in ("b_E_1_2_A_3_4.avi", "more/b_E_1_2_A_3_4.mp4")]
    )
    assert re.search(message, odd_line(gym99.read, tmp_path))
    assert gym99.read(tmp_path).entries == whole


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"categories": "round-off\n"},
            r"gym99_categories\.txt:1: found 'round-off'; expected `Cl",
        ),
        ({"categories": CATEGORIES.replace("1; set: 21", "2; set: 21")}, r"txt:2: .* in order"),
        ({"categories": "\n"}, r"gym99_categories\.txt: found no class"),
        ({"val": "\n"}, r"gym99_val_element\.txt: found no usable row"),
        ({"val": "a\nb\n"}, r"gym99_val_element\.txt:1: found 'a'.* \(2 of 2 rows are odd"),
    ],
)
def test_bad_lists(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        gym99.read(tree(tmp_path, **changed))


def test_absent_and_missing(tmp_path: Path) -> None:
    (tree(tmp_path) / "videos" / f"{ELEMENTS[2]}.mp4").unlink()
    with pytest.raises(UserError, match=r"^1 of 1 videos listed in .*gym288_val_element\.txt"):
        gym288.read(tmp_path)
    (tmp_path / "annotations" / "gym288_train_element_v1.0.txt").unlink()
    with pytest.raises(UserError, match=r"gym288_train_element_v1\.1\.txt: not found; expected it"):
        gym288.read(tmp_path)
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"videos: folder not found; FineGym's layout has videos"):
        gym99.read(tmp_path)
