"""Features on disk: only the rows of a split are read, and what is damaged is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream import features
from videossl.downstream.examples import Examples
from videossl.job import UserError


def table(n: int = 80) -> tuple[np.ndarray, Examples]:
    """Features of examples that train and test in turns in split 1, in halves in split 2."""
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    turns = [("train", "test", "")[k % 3] for k in range(n)]
    halves = ["train" if k < n // 2 else "test" for k in range(n)]
    labels = np.arange(n, dtype=np.int64) % 3
    videos = [f"v{k}.avi" for k in range(n)]
    return x, Examples(videos, labels, ["a", "b", "c"], {"1": turns, "2": halves})


@pytest.mark.parametrize("block_bytes", [1, 7 * 12, 1 << 20])
@pytest.mark.parametrize("split", [1, 2])
def test_features_survive_the_disk(tmp_path, monkeypatch, block_bytes, split):
    monkeypatch.setattr(features, "BLOCK_BYTES", block_bytes)
    x, found = table()
    blocks = np.split(x, [1, 30, 31])
    assert features.save(iter(blocks), found, tmp_path) == x.shape
    np.testing.assert_array_equal(np.load(tmp_path / features.FILE), x)
    for part, name in zip(features.load(tmp_path, found, split), ("train", "test"), strict=True):
        numbers = [k for k, there in enumerate(found.parts[str(split)]) if there == name]
        assert part.examples.tolist() == numbers
        np.testing.assert_array_equal(part.features, x[numbers])
        np.testing.assert_array_equal(part.labels, found.targets[numbers])
    rows = (tmp_path / "features.csv").read_text().splitlines()
    assert rows[:2] == ["example,video", "0,v0.avi"]


@pytest.mark.parametrize("rows", [79, 81])
def test_a_feature_too_few_or_many_is_no_file_to_keep(tmp_path, rows):
    _, found = table()
    with pytest.raises(ValueError, match=f"{rows} features of 80 examples"):
        features.save([np.zeros((rows, 3), np.float32)], found, tmp_path)


def test_a_split_that_is_not_there_is_refused(tmp_path):
    x, found = table()
    del found.parts["1"]
    features.save([x], found, tmp_path)
    with pytest.raises(UserError, match="no example in split 1 train; there are: 2 test, 2 train"):
        features.load(tmp_path, found, 1)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_features_that_are_not_finite_are_refused(tmp_path, monkeypatch, value):
    monkeypatch.setattr(features, "BLOCK_BYTES", 24)
    x, found = table()
    x[7, 1] = value  # split 1 tests it
    with pytest.raises(UserError, match=r"v7\.avi are not finite"):
        features.save(np.split(x, [5]), found, tmp_path)
    np.save(tmp_path / features.FILE, x)
    with pytest.raises(UserError, match=r"the features of v7\.avi are not finite; remove "):
        features.load(tmp_path, found, 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "1 bytes are missing"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "cannot be read"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: np.save(path, np.zeros((80, 3))), "float64, shape .* no table of float32"),
        (lambda path: np.save(path, np.zeros((3, 80), np.float32).T), "no table of float32"),
        (lambda path: np.save(path, np.zeros(80, np.float32)), "no table"),
        (
            lambda path: np.save(path, np.zeros((7, 3), np.float32)),
            "7 features, but the test has 80 examples",
        ),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, damage, message):
    x, found = table()
    features.save([x], found, tmp_path)
    damage(tmp_path / features.FILE)
    with pytest.raises(UserError, match=f"{features.FILE}: .*{message}.* and run again") as error:
        features.load(tmp_path, found, 1)
    assert "\n" not in str(error.value)


@given(st.integers(0, 1000), st.integers(-44, 37))
def test_unit_rows_of_any_size(seed, power):
    x = np.random.default_rng(seed).uniform(-1, 1, size=(5, 4))
    x[0] = 0
    rows = (x * 10.0**power).astype(np.float32)
    found = features.unit(rows)
    norm = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(found, rows / np.where(norm > 0, norm, 1), rtol=1e-6, atol=1e-7)
