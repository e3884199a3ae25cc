"""A record is the same bytes in memory and in a file, and nothing is left of a file."""

from __future__ import annotations

import resource
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.movies import OPTIONS, decode_dataset, reference, write_video
from videossl.data.datasets.index import Entry, Index
from videossl.data.decoding import decode, isolate
from videossl.data.shards import recording, records
from videossl.data.shards.builder import ShardBuilder
from videossl.data.shards.recording import Recording
from videossl.data.shards.store import ClipStore
from videossl.job import UserError

HEIGHT, WIDTH = 240, 320
FRAMES = recording.IN_MEMORY // (3 * HEIGHT * WIDTH) + 20


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=9), data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_record_does_not_depend_on_where_its_frames_are(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    rng = np.random.default_rng(sizes)
    frames = [rng.bytes(size) for size in sizes]
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=12))
    folder = tmp_path_factory.mktemp("records")
    limit = data.draw(st.integers(0, sum(sizes) + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "IN_MEMORY", limit)
        with Recording(folder) as one:
            assert [one.add(frame) for frame in frames] == list(range(len(frames)))
            made = one.record(chosen, "raw", 2, 3)
    expected = records.pack([frames[number] for number in chosen], "raw", 2, 3)
    assert isinstance(made, Path) == (sum(sizes) > limit)
    assert recording.size_of(made) == len(expected)
    with recording.opened(made) as content:
        assert content[:] == expected
    assert list(folder.iterdir()) == ([made] if isinstance(made, Path) else [])


def test_a_file_is_removed_once_its_record_is_in_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = []
    for name, limit in (("memory", 1000), ("file", 10)):
        monkeypatch.setattr(recording, "IN_MEMORY", limit)
        build = ShardBuilder(tmp_path / name, 1 << 20)
        with Recording(tmp_path / "records") as one:
            numbers = [one.add(bytes([n]) * 20) for n in range(3)]
            build.add(one.record(numbers, "raw", 2, 2), {"name": "a"})
        build.close()
        stored.append((build.finished[0].sha256, build.finished[0].videos))
    assert stored[0] == stored[1]
    assert list((tmp_path / "records").iterdir()) == []


def test_what_is_too_large_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "IN_MEMORY", 10)
    monkeypatch.setattr(records, "RECORD_LIMIT", 1000)
    with Recording(tmp_path) as one:
        numbers = [one.add(bytes(600)) for _ in range(2)]
        with pytest.raises(records.TooLarge, match="2 frames of 20x20 take 1236 bytes"):
            one.record(numbers, "raw", 20, 20)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's largest size stands for the disk's end."""
    monkeypatch.setattr(recording, "IN_MEMORY", 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Recording(tmp_path) as one:
        numbers = [one.add(bytes(2**16)) for _ in range(4)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, hard))
        try:
            with pytest.raises(UserError, match=r"File too large \(.* GB are free there\); finish"):
                one.record(numbers, "raw", 20, 20)
            with pytest.raises(UserError, match="File too large"):
                one.add(bytes(2**20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_no_fault_of_the_video(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", FRAMES, size=(HEIGHT, WIDTH))
    (tmp_path / "file").touch()
    options = OPTIONS.model_copy(update={"codec": "raw", "short_side": HEIGHT})
    results = isolate.ordered(
        partial(decode.store_one, tmp_path, options, tmp_path / "file"),
        ["a.mp4"],
        children=1,
        deadline=lambda name: 60.0,
    )
    with pytest.raises(UserError, match=r"file: File exists \(.* GB are free there\); finished sh"):
        list(results)


def test_a_long_video_is_stored_as_a_short_one_is(tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    lengths = {"a/long.mp4": FRAMES, "a/short.mp4": 12}
    for name, frames in lengths.items():
        write_video(root / name, frames, size=(HEIGHT, WIDTH))
    scratch = tmp_path / "out-scratch"
    left = scratch / recording.FOLDER / "of a killed process"
    left.parent.mkdir(parents=True)
    left.touch()
    index = Index(["a"], root, [Entry(name, 0, {"1": "train"}) for name in lengths])
    adapter = types.SimpleNamespace(read=lambda root: index)
    options = {"codec": "raw", "backend": "pyav", "short_side": HEIGHT}
    decode_dataset(root, out, threads=2, adapter=adapter, **options)
    store = ClipStore(out)
    assert {one.name: one.frames for one in store.videos} == lengths
    for number, one in enumerate(store.videos):
        clip = store.clip(number, range(one.frames))
        np.testing.assert_array_equal(clip, reference(root / one.name))
    assert list((scratch / recording.FOLDER).iterdir()) == []  # the long one was there
