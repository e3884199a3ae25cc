"""The ASLAN adapter: pairs and folds of View 2, and one clear line for each kind of bad file."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from support.trees import odd_line, plant
from videossl.data.datasets import aslan
from videossl.data.datasets.index import UNLABELLED, Entry
from videossl.job import UserError

# Samples 1 and 2 show action 1, samples 3 and 4 action 2; a fold has one pair of each kind.
FOLD = [[1, 2, 1, 1, 1], [1, 3, 0, 1, 2]]
LAST = [[3, 4, 1, 2, 2], [4, 2, 0, 2, 1]]
SAMPLES = [f"{sample:04d}.avi" for sample in (1, 2, 3, 4)]


def matrix(folds: int = 10) -> np.ndarray:
    """The pairs, 2 × 5 × folds; the last fold is another one."""
    return np.stack([np.array(FOLD)] * (folds - 1) + [np.array(LAST)], axis=2).astype(float)


def save(root: Path, pairs: np.ndarray, name: str = "action_splits_pairs") -> None:
    savemat(root / "View2.mat", {name: pairs, "other": np.zeros(3)}, do_compression=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    plant(tmp_path / "ASLAN_AVI", {}, [*SAMPLES, "0005.avi", "Thumbs.db"])
    save(tmp_path, matrix())
    return tmp_path


def test_pairs_in_the_order_of_the_folds(root: Path) -> None:
    index = aslan.read(root)
    pairs = index.annotations["pairs"]
    assert len(pairs) == 20
    assert pairs[:2] == [["0001.avi", "0002.avi", 1, 1], ["0001.avi", "0003.avi", 0, 1]]
    assert pairs[-2:] == [["0003.avi", "0004.avi", 1, 10], ["0004.avi", "0002.avi", 0, 10]]
    assert [fold for *_, fold in pairs] == sorted(list(range(1, 11)) * 2)
    assert index.root == root / "ASLAN_AVI"
    assert index.classes == []
    assert index.entries == [Entry(name, UNLABELLED, {"1": "all"}) for name in SAMPLES]


def test_labels_where_the_actions_are_named(root: Path) -> None:
    plant(root, {"Actions_Ids.txt": "1\tcartwheel\n2\tjump rope\n"})
    index = aslan.read(root)
    assert index.classes == ["cartwheel", "jump rope"]
    assert [entry.label for entry in index.entries] == [0, 0, 1, 1]


def test_mp4_files_and_any_text_before_the_number(root: Path) -> None:
    (root / "ASLAN_AVI").rename(root / "elsewhere")
    plant(root / "ASLAN_MP4", {}, [f"sample-{name[:4]}.mp4" for name in SAMPLES])
    index = aslan.read(root)
    assert index.root == root / "ASLAN_MP4"
    assert index.annotations["pairs"][0] == ["sample-0001.mp4", "sample-0002.mp4", 1, 1]


def test_absent_videos_up_to_the_allowed_share(root: Path) -> None:
    (root / "ASLAN_AVI" / "0003.avi").unlink()
    with pytest.raises(UserError, match=r"^1 of 4 videos listed in .*View2\.mat .*first: 0003$"):
        aslan.read(root)
    index = aslan.read(root, missing=0.25)
    assert index.absent == ["0003"]
    assert len(index.entries) == 3
    pairs = index.annotations["pairs"]
    assert pairs[:2] == [["0001.avi", "0002.avi", 1, fold] for fold in (1, 2)]
    assert pairs[-1] == ["0004.avi", "0002.avi", 0, 10]
    assert len(pairs) == 10


def changed(place: tuple[int | slice, int, int], value: float) -> np.ndarray:
    pairs = matrix()
    pairs[place] = value
    return pairs


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (matrix(9), r"found 2 × 5 × 9 of type"),
        (matrix()[:, :3], r"found 2 × 3 × 10 of type"),
        (matrix()[:0], r"found no pair, or numbers that are not whole"),
        (changed((0, 0, 0), 1.5), r"numbers that are not whole"),
        (changed((0, 0, 0), np.nan), r"numbers that are not whole"),
        (changed((1, 2, 3), 1), r"found 2 same and 0 not-same pairs in fold 4"),
        (changed((slice(None), 2, 3), 2), r"pair 1 of fold 4: found .* \(2 of 20 rows are odd"),
        (changed((0, 1, 9), 6), r"1 of 5 videos listed in .* first: 0006"),
    ],
)
def test_bad_pairs(root: Path, pairs: np.ndarray, message: str) -> None:
    save(root, pairs)
    with pytest.raises(UserError, match=message):
        aslan.read(root)


@pytest.mark.parametrize(
    ("pairs", "message", "pair"),
    [
        (changed((1, 2, 3), 2), r"pair 2 of fold 4: found \[1, 3, 2, 1, 2\]", (1, 3, 0, 4)),
        (changed((0, 1, 9), 0), r"pair 1 of fold 10: found \[3, 0, 1, 2, 2\]", (3, 4, 1, 10)),
        (
            changed((0, 3, 9), 1),
            r"pair 1 of fold 10: found action 1 for sample 3; expected 2",
            (3, 4, 1, 10),
        ),
        (changed((0, 3, 0), 9), r"pair 1 of fold 1: found action 9; .* has 1 to 2", (1, 2, 1, 1)),
    ],
)
def test_odd_pairs_cost_nothing_else(
    root: Path, pairs: np.ndarray, message: str, pair: tuple[int, ...]
) -> None:
    plant(root, {"Actions_Ids.txt": "1 cartwheel\n2 jump\n"})
    whole = aslan.read(root)
    save(root, pairs)
    assert re.search(message, odd_line(aslan.read, root))
    index = aslan.read(root)
    gone = [f"{pair[0]:04d}.avi", f"{pair[1]:04d}.avi", *pair[2:]]
    assert [*index.annotations["pairs"], gone] != whole.annotations["pairs"]
    assert sorted([*index.annotations["pairs"], gone]) == sorted(whole.annotations["pairs"])
    assert index.entries == whole.entries


def test_files_that_are_no_matrix_of_pairs(root: Path) -> None:
    path = root / "View2.mat"
    whole = path.read_bytes()
    for data in (b"", b"text" * 99, whole[:200], whole[:150] + b"\x00" * 9 + whole[159:]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"View2\.mat: no or a damaged MATLAB file"):
            aslan.read(root)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    with pytest.raises(UserError, match=r"View2\.mat: MATLAB 7\.3 file; expected version 7"):
        aslan.read(root)
    save(root, matrix(), "pairs")
    with pytest.raises(UserError, match=r"View2\.mat: found no action_splits_pairs"):
        aslan.read(root)
    path.unlink()
    with pytest.raises(UserError, match=r"View2\.mat: not found"):
        aslan.read(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 cartwheel\n3 jump\n", r"Actions_Ids\.txt:2: found '3 jump'"),
        (
            "1 cartwheel\n",
            r"View2\.mat: pair 2 of fold 1: found action 2; Actions_Ids\.txt has 1 to 1",
        ),
        ("", r"Actions_Ids\.txt: found no action"),
    ],
)
def test_bad_classes(root: Path, text: str, message: str) -> None:
    plant(root, {"Actions_Ids.txt": text})
    with pytest.raises(UserError, match=message):
        aslan.read(root)


def test_missing_folder_and_two_files_of_one_sample(root: Path) -> None:
    plant(root / "ASLAN_AVI", {}, ["b-0001.avi"])
    with pytest.raises(UserError, match=r"found both 0001\.avi and b-0001\.avi"):
        aslan.read(root)
    (root / "ASLAN_AVI").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"ASLAN_AVI: folder not found; ASLAN's layout has"):
        aslan.read(root)
