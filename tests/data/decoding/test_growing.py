"""``decode`` again: after a kill, after the dataset grew, when the disk is too small."""

import json
import os
import shutil
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.movies import decode_dataset, manifest_of, reference, write_video
from videossl import durable
from videossl.data.datasets.index import Entry, Index
from videossl.data.decoding import reuse
from videossl.data.shards import disk_space, records
from videossl.data.shards.builder import ShardBuilder
from videossl.data.shards.store import ClipStore
from videossl.job import UserError


class Listed:
    """An adapter that lists the given names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)

    def read(self, root: Path) -> Index:
        entries = [
            Entry(name, i % 2, {"1": ("train", "test")[i % 2]}) for i, name in enumerate(self.names)
        ]
        return Index(["Grow", "Turn"], root, entries)


NAMES = [f"{letter}.mp4" for letter in "bdfhjlnp"]
RAW = {"codec": "raw", "backend": "pyav"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos, four of which fill a shard of a megabyte when stored raw."""
    root: Path = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(NAMES):
        write_video(root / name, 28 + number)
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_shuffled_lists_and_children_give_the_same_bytes(videos: Path, tmp_path: Path) -> None:
    shuffled = types.SimpleNamespace(
        read=lambda root: Index(["Grow", "Turn"], root, Listed(NAMES).read(root).entries[::-1])
    )
    decode_dataset(videos, tmp_path / "one", adapter=Listed(NAMES), **RAW)
    decode_dataset(videos, tmp_path / "two", threads=2, adapter=shuffled, **RAW)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert len(manifest_of(tmp_path / "one")["shards"]) >= 2


@pytest.mark.parametrize("finished", [1, 4, 5, 7])
def test_goes_on_at_the_shard_it_was_in(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    whole = decode_dataset(videos, tmp_path / "whole", adapter=Listed(NAMES), **RAW)
    add = ShardBuilder.add
    added: list[str] = []

    def dies(self: ShardBuilder, record: bytes, facts: dict[str, Any]) -> None:
        if len(added) == finished:
            raise KeyboardInterrupt
        added.append(facts["name"])
        add(self, record, facts)

    with monkeypatch.context() as patch:
        patch.setattr(ShardBuilder, "add", dies)
        with pytest.raises(KeyboardInterrupt):
            decode_dataset(videos, tmp_path / "cut", adapter=Listed(NAMES), **RAW)
    again: list[str] = []

    def noted(self: ShardBuilder, record: bytes, facts: dict[str, Any]) -> None:
        again.append(facts["name"])
        add(self, record, facts)

    monkeypatch.setattr(ShardBuilder, "add", noted)
    (tmp_path / "cut").rmdir()
    decode_dataset(videos, tmp_path / "cut", adapter=Listed(NAMES), **RAW)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    in_full = [v["name"] for v in whole["videos"] if v["shard"] < finished // 4]
    assert again == NAMES[len(in_full) :]


def test_a_video_that_changed_after_the_kill_is_decoded_again(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for name in NAMES:
        write_video(root / name, 30)
    scratch = tmp_path / "out-scratch" / "shards"
    decode_dataset(root, tmp_path / "out", adapter=Listed(NAMES), **RAW)
    assert sorted(path.suffix for path in scratch.iterdir()).count(".lmdb") >= 2
    write_video(root / NAMES[-1], 20)
    decode_dataset(root, tmp_path / "new", adapter=Listed(NAMES), **RAW)
    (tmp_path / "out-scratch").rename(tmp_path / "again-scratch")
    decode_dataset(root, tmp_path / "again", adapter=Listed(NAMES), **RAW)
    assert content(tmp_path / "again") == content(tmp_path / "new")


# ------------------------------------------------------------------ growth


def finish(out: Path) -> None:
    """What the engine adds to a stage's output."""
    (out / "stage.json").write_text(json.dumps({"code": {}}))


def files(folder: Path) -> set[int]:
    """The shards, by what tells files apart."""
    return {path.stat().st_ino for path in folder.glob("*.lmdb")}


def grown(root: Path, tmp_path: Path, names: Iterable[str]) -> dict[str, Any]:
    return decode_dataset(root, tmp_path / "grown", adapter=Listed(names), **RAW)


def test_growth_appends_and_keeps_the_rest(videos: Path, tmp_path: Path) -> None:
    first = decode_dataset(videos, tmp_path / "first", adapter=Listed(NAMES), **RAW)
    finish(tmp_path / "first")
    more = ["a.mp4", "i.mp4"]
    for name in more:
        write_video(videos / name, 30)
    second = grown(videos, tmp_path, [*NAMES, *more])
    kept = len(first["shards"])
    assert second["shards"][:kept] == first["shards"]
    for shard in first["shards"]:
        assert (tmp_path / "grown" / shard["file"]).samefile(tmp_path / "first" / shard["file"])
    assert [v["name"] for v in second["videos"]] == sorted([*NAMES, *more])
    assert {v["name"] for v in second["videos"] if v["shard"] >= kept} == set(more)
    store = ClipStore(tmp_path / "grown")
    labels = {entry.name: entry.label for entry in Listed([*NAMES, *more]).read(videos).entries}
    for number, video in enumerate(store.videos):
        assert video.label == labels[video.name]
        frames = range(video.frames)
        expected = reference(videos / video.name)
        np.testing.assert_array_equal(store.clip(number, frames), expected)


def test_a_shard_with_a_changed_or_missing_video_is_not_kept(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for name in NAMES:
        write_video(root / name, 30)
    first = decode_dataset(root, tmp_path / "first", adapter=Listed(NAMES), **RAW)
    finish(tmp_path / "first")
    shard_of = {v["name"]: v["shard"] for v in first["videos"]}
    data = bytearray((root / NAMES[0]).read_bytes())
    data[-3] ^= 1  # the same size
    (root / NAMES[0]).write_bytes(data)
    second = grown(root, tmp_path, NAMES)
    kept = files(tmp_path / "grown") & files(tmp_path / "first")
    unchanged = [s["file"] for i, s in enumerate(first["shards"]) if i != shard_of[NAMES[0]]]
    assert kept == {(tmp_path / "first" / name).stat().st_ino for name in unchanged}
    assert sorted(v["name"] for v in second["videos"]) == NAMES


@pytest.mark.parametrize("why", ["other parameters", "other code", "unfinished", "cut"])
def test_what_is_not_the_same_is_not_taken(videos: Path, tmp_path: Path, why: str) -> None:
    options = {**RAW, "quality": 80} if why == "other parameters" else RAW
    first = decode_dataset(videos, tmp_path / "first", adapter=Listed(NAMES), **options)
    if why != "unfinished":
        finish(tmp_path / "first")
    if why == "other code":
        (tmp_path / "first" / "stage.json").write_text(
            '{"code": {"videossl.data.decoding.video": "1"}}'
        )
    if why == "cut":
        os.truncate(tmp_path / "first" / first["shards"][0]["file"], 4096)
    grown(videos, tmp_path, NAMES)
    shared = files(tmp_path / "grown") & files(tmp_path / "first")
    assert len(shared) == (len(first["shards"]) - 1 if why == "cut" else 0)


# ------------------------------------------------------------------ the disk


@pytest.mark.parametrize(("free", "fits"), [(100_000, False), (10_000_000, True)])
def test_disk_is_checked_before_anything_is_written(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    monkeypatch.setattr(
        disk_space.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=free)
    )
    monkeypatch.setattr(disk_space, "AMPLE", 10**6)
    if fits:
        decode_dataset(videos, tmp_path / "out", adapter=Listed(NAMES), **RAW)
        return
    with pytest.raises(UserError, match=r"8 videos need about 0\.00\d+ GB and 0\.0001 GB are free"):
        decode_dataset(videos, tmp_path / "out", adapter=Listed(NAMES), **RAW)
    assert list((tmp_path / "out").iterdir()) == []


def test_full_disk_keeps_the_finished_shards(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = records.ShardWriter.put
    written: list[int] = []

    def fills(self: Any, record: bytes) -> None:
        if len(written) == 6:
            raise OSError(28, "No space left on device")
        written.append(len(record))
        put(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(records.ShardWriter, "put", fills)
        with pytest.raises(UserError, match=r"No space left on device .* finished shards stay"):
            decode_dataset(videos, tmp_path / "out", adapter=Listed(NAMES), **RAW)
    (tmp_path / "out").rmdir()
    decode_dataset(videos, tmp_path / "out", adapter=Listed(NAMES), **RAW)
    decode_dataset(videos, tmp_path / "whole", adapter=Listed(NAMES), **RAW)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("earlier", ["damaged", "damaged, then used by another"])
def test_a_damaged_shard_of_an_earlier_output_is_made_again(
    videos: Path, tmp_path: Path, earlier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = decode_dataset(videos, tmp_path / "first", adapter=Listed(NAMES), **RAW)
    whole = content(tmp_path / "first")
    finish(tmp_path / "first")
    path = tmp_path / "first" / first["shards"][0]["file"]
    data = bytearray(path.read_bytes())
    data[first["videos"][0]["offset"] + 9000] ^= 1
    path.write_bytes(data)
    for turn in range(2 if "then" in earlier else 1):
        out = tmp_path / f"grown{turn}"
        again = decode_dataset(videos, out, adapter=Listed(NAMES), **RAW)
        for shard in again["shards"]:
            assert durable.sha256(out / shard["file"]) == shard["sha256"]
        assert {v["name"] for v in again["videos"]} == set(NAMES)
        assert f"{path}: damaged, so its videos are decoded again" in capsys.readouterr().err
        assert set(whole.values()) & set(content(out).values())  # the other shards are kept
        shutil.rmtree(out)


def test_a_damaged_manifest_of_an_earlier_output_is_passed_over(
    videos: Path, tmp_path: Path
) -> None:
    decode_dataset(videos, tmp_path / "first", adapter=Listed(NAMES), **RAW)
    finish(tmp_path / "first")
    (tmp_path / "first" / "manifest.json").write_text("{")
    assert len(grown(videos, tmp_path, NAMES)["videos"]) == len(NAMES)


class Counting(dict[str, Any]):
    """Facts of a video that count how often they are looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        Counting.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("shards", [1, 40])
def test_earlier_shards_cost_what_their_videos_do(tmp_path: Path, shards: int) -> None:
    """Not videos times shards: 40,000 videos took half a minute."""
    (tmp_path / "a.lmdb").write_bytes(b"1")
    videos = [
        Counting(name=f"{n}", shard=n % shards, offset=-n, label=0, splits={}) for n in range(400)
    ]
    files = [{"file": "a.lmdb", "size": 1, "sha256": ""}] * shards
    output = reuse._Output({"shards": files, "videos": videos}, lambda name: tmp_path / name)
    Counting.looks = 0
    found = list(reuse._shards(output))
    assert Counting.looks <= 4 * len(videos)
    assert [len(shard.videos) for shard in found] == [400 // shards] * shards
    names = [facts["name"] for facts in found[0].videos]
    assert names == [f"{n}" for n in range(400 - shards, -1, -shards)]  # in the order of the file
