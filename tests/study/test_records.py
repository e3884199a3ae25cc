"""Inputs are what they were when they were written, or one line says what is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from videossl.job import UserError
from videossl.study import files, publication, records, remembered


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "encoder.safetensors").write_bytes(bytes(range(256)) * 4)
    (folder / "sub" / "table.csv").write_text("a,b\n1,2\n")
    (folder / "shard.lmdb").write_bytes(b"frames" * 100)
    (folder / "speed.tsv").write_text("seconds\n")
    record = {
        **{"stage": "pretrain", "key": {"row": "rspnet"}, "fingerprint": "0" * 12, "params": {}},
        "files": records.digests(folder),
    }
    records.write(record, folder)
    records._checked.clear()
    return folder


def test_what_is_as_it_was_passes(output):
    record = records.check(output)
    assert set(record["files"]) == {"encoder.safetensors", "sub/table.csv", "shard.lmdb"}
    (output / "speed.tsv").write_text("other\n")  # durations are not what others depend on
    records.check(output, whole=True)


def damaged(kind: str, path: Path, other: Path) -> None:
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "zeros":
        path.write_bytes(bytes(len(data)))
    elif kind == "garbage":
        path.write_bytes(os.urandom(len(data)))
    elif kind == "one bit":
        path.write_bytes(data[:5] + bytes([data[5] ^ 64]) + data[6:])
    elif kind == "exchanged":
        shutil.copy(other, path)
    else:
        path.unlink()


KINDS = ("truncated", "empty", "zeros", "garbage", "one bit", "exchanged", "absent")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["encoder.safetensors", "sub/table.csv"])
def test_damage_is_one_line(output, kind, name):
    other = output / ("sub/table.csv" if name == "encoder.safetensors" else "encoder.safetensors")
    damaged(kind, output / name, other)
    with pytest.raises(UserError) as caught:
        records.check(output)
    text = str(caught.value)
    assert text.startswith(str(output / name))
    assert f"remove {output}" in text
    assert "\n" not in text


def test_arrays_count_by_size_for_whoever_does_not_read_them(output):
    (output / "features.npy").write_bytes(bytes(400))
    record = {**records.read(output), "files": records.digests(output)}
    records.write(record, output)
    damaged("one bit", output / "features.npy", output)
    records.check(output, arrays=False)
    for asked in ({}, {"whole": True, "arrays": False}):
        with pytest.raises(UserError, match=r"features\.npy: damaged \(other bytes"):
            records.check(output, **asked)
    damaged("truncated", output / "features.npy", output)
    with pytest.raises(UserError, match=r"features\.npy: damaged \(200 bytes instead of 400\)"):
        records.check(output, arrays=False)


def test_shards_count_by_size_unless_all_is_asked_for(output):
    damaged("one bit", output / "shard.lmdb", output)
    records.check(output)  # frames have checksums of their own
    with pytest.raises(UserError, match=r"shard\.lmdb: damaged"):
        records.check(output, whole=True)
    damaged("truncated", output / "shard.lmdb", output)
    with pytest.raises(UserError, match=r"shard\.lmdb: damaged \(300 bytes instead of 600\)"):
        records.check(output)


@pytest.mark.parametrize("kind", ["truncated", "empty", "zeros", "garbage", "absent"])
def test_a_damaged_record_is_one_line(output, kind):
    damaged(kind, output / publication.RECORD, output)
    with pytest.raises(UserError, match=r"stage\.json: .*remove .*out"):
        records.check(output)


def test_content_digests_are_remembered_and_follow_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    assert files.digest(path) == "absent"
    path.write_bytes(b"one")
    first = files.digest(path)
    known = remembered.read(files.REMEMBERED)
    assert [value[1] for value in known.values()] == [first]
    path.write_bytes(b"two")
    assert files.digest(path) != first
    path.write_bytes(b"one")
    assert files.digest(path) == first
    files.REMEMBERED.write_text("garbage")
    assert files.digest(path) == first
