"""Records, shards and the reader on frames made here; the children that make records."""

import hashlib
import json
import multiprocessing as mp
import os
import pickle
import resource
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from videossl.data.shards import records
from videossl.data.shards.builder import ShardBuilder, publish
from videossl.data.shards.store import ClipStore, CorruptShard, Place, Video
from videossl.job import UserError

HEIGHT, WIDTH, FRAMES = 24, 32, 40
VIDEOS = 5


def pictures(video: int) -> NDArray[np.uint8]:
    """(T, H, W, 3): smooth, so that JPEG keeps it, and different in every frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    phase = 0.3 * np.arange(FRAMES)[:, None, None, None] + np.arange(3) + video
    waves = np.sin(0.2 * x[..., None] + phase) + np.cos(0.15 * y[..., None] - phase)
    return np.round(127.5 + 60 * waves).astype(np.uint8)


def write_store(folder: Path, codec: str, shard_bytes: int, other: int = 0) -> None:
    encode = records.encoder(codec, 95)
    size = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH, "fps": 25.0}
    with tempfile.TemporaryDirectory() as scratch:
        build = ShardBuilder(Path(scratch), shard_bytes)
        for video in range(VIDEOS):
            frames = [encode(frame) for frame in pictures(video + other)]
            facts = {"label": video % 2, "splits": {"1": ("train", "test")[video % 2]}}
            record = records.pack(frames, codec, HEIGHT, WIDTH)
            build.add(record, {"name": f"v{video}.avi", **facts, **size})
        rejects = build.close()
        head = {"classes": ["Archery", "Biking"], "codec": codec, "channels": 3}
        publish(folder, build.finished, rejects, head)


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp(request.param)
    write_store(path, request.param, shard_bytes=40_000)
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_store(tmp_path, "raw", shard_bytes=1 << 20)
    return tmp_path


def places(folder: Path) -> list[Place]:
    videos = json.loads((folder / "manifest.json").read_text())["videos"]
    return [Place(v["shard"], v["offset"], v["length"], v["table_crc32"]) for v in videos]


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def assert_frames(codec: str, clip: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    assert clip.shape == expected.shape
    assert clip.dtype == np.uint8
    if codec == "raw":
        np.testing.assert_array_equal(clip, expected)
    else:
        error = np.mean((clip.astype(float) - expected) ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 30


def test_facts(folder: Path) -> None:
    store = ClipStore(folder)
    assert len(store) == len(store.videos) == VIDEOS
    assert store.classes == ["Archery", "Biking"]
    assert store.videos[1] == Video("v1.avi", 1, {"1": "test"}, FRAMES, HEIGHT, WIDTH, 25.0)
    assert store.members(1, "train") == [0, 2, 4]
    assert store.members(1, "test") == [1, 3]
    with pytest.raises(UserError, match="no video in split 2 train; found: 1 test, 1 train"):
        store.members(2, "train")


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_clip_is_the_asked_frames(folder: Path, data: st.DataObject) -> None:
    video = data.draw(st.integers(0, VIDEOS - 1))
    frames = data.draw(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=8))
    clip = ClipStore(folder).clip(video, frames)
    assert_frames(folder.name[:-1], clip, pictures(video)[frames])


def test_clip_into_a_given_array(folder: Path) -> None:
    store = ClipStore(folder)
    out = np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)
    frames = np.array([39, 0, 20])
    assert store.clip(2, frames, out) is out
    np.testing.assert_array_equal(out, store.clip(2, frames))
    for bad in (out[:2], out.astype(np.int16), np.zeros((3, HEIGHT, 2 * WIDTH, 3))[:, :, ::2]):
        with pytest.raises(ValueError, match="contiguous uint8 array of shape"):
            store.clip(2, frames, bad)


@pytest.mark.parametrize("frame", [-1, FRAMES])
def test_no_such_frame(folder: Path, frame: int) -> None:
    with pytest.raises(IndexError, match=rf"v0\.avi: no frame {frame}, it has {FRAMES}"):
        ClipStore(folder).clip(0, [0, frame])


def test_lmdb_reads_the_same_records(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    found = places(folder)
    assert {place.shard for place in found} == set(range(len(manifest["shards"])))
    for number, shard in enumerate(manifest["shards"]):
        file = folder / shard["file"]
        with (
            lmdb.open(str(file), subdir=False, lock=False, readonly=True) as env,
            env.begin() as transaction,
        ):
            keys = [key for key, _ in transaction.cursor()]
            expected = [place for place in found if place.shard == number]
            assert keys == [b"%08d" % i for i in range(len(expected))]
            for i, place in enumerate(expected):
                record = file.read_bytes()[place.offset : place.offset + place.length]
                assert transaction.get(b"%08d" % i) == record


@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=12),
    shard_bytes=st.integers(1, 40_000),
    commit=st.integers(1, 20_000),
    read=st.integers(1, 5000),
)
@settings(max_examples=30, deadline=None)
def test_places_hold_the_records(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    shard_bytes: int,
    commit: int,
    read: int,
) -> None:
    rng = np.random.default_rng([len(sizes), *sizes])
    packed = [records.pack([rng.bytes(size)], "raw", 2, 2) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "COMMIT_BYTES", commit)
        patch.setattr(records, "READ_BYTES", read)
        build = ShardBuilder(tmp_path_factory.mktemp("places"), shard_bytes)
        for number, record in enumerate(packed):
            build.add(record, {"name": str(number)})
        assert build.close() == []
    assert [name for p in build.finished for name in p.names] == [*map(str, range(len(packed)))]
    for shard in build.finished:
        content = shard.path.read_bytes()
        assert len(content) == shard.size
        assert hashlib.sha256(content).hexdigest() == shard.sha256
        stored = [packed[int(name)] for name in shard.names]
        for record, facts in zip(stored, shard.videos, strict=True):
            assert facts["length"] == len(record)
            assert content[facts["offset"] :][: len(record)] == record
        assert shard is build.finished[-1] or sum(map(len, stored)) >= shard_bytes
        assert sum(map(len, stored[:-1])) < shard_bytes


def test_a_record_stands_where_every_byte_of_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "READ_BYTES", 7)
    value = np.random.default_rng(0).integers(0, 256, 50, np.uint8)
    file = tmp_path / "file"
    for wrong in (None, *range(len(value))):
        stored = bytearray(b"12345" + value.tobytes())
        if wrong is not None:
            stored[5 + wrong] ^= 1
        file.write_bytes(stored)
        with file.open("rb") as opened:
            assert records._stands_at(opened.fileno(), 5, value) == (wrong is None)
            assert not records._stands_at(opened.fileno(), 6, value)


def test_same_bytes_again(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_store(tmp_path / name, "jpeg", shard_bytes=60_000)
        files = sorted((tmp_path / name).iterdir())
        contents.append({path.name: path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) > 2


def test_record_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 1000)
    with pytest.raises(records.TooLarge, match="2 frames of 20x20 take 1236 bytes"):
        records.pack([bytes(600)] * 2, "raw", 20, 20)


def test_disk_that_takes_no_more(tmp_path: Path) -> None:
    """A file's largest size stands for the disk's end: LMDB's write comes back short in both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = records.ShardWriter(tmp_path / "00000.lmdb", 2**30)
    writer.put(bytes(2**20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, hard))
    try:
        with pytest.raises(OSError, match=r"00000\.lmdb: .*error \(\d+\.\d\d GB are free\)"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_disk_that_takes_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(UserError, match=r"GB are free\)") as raised:
            ShardBuilder(tmp_path, 2**20).add(bytes(2**10), {"name": "a"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("frames", [[2, 3, 4], [0, 3, 39]], ids=["span", "single"])
def test_damaged_frame_is_named(raw: Path, frames: Sequence[int]) -> None:
    place = places(raw)[1]
    frame_bytes = HEIGHT * WIDTH * 3
    start = place.offset + records.table_bytes(FRAMES)
    flip(raw / "shard-00000.lmdb", start + 3 * frame_bytes + 5)
    store = ClipStore(raw)
    wanted = r"shard-00000\.lmdb: damaged at v1\.avi, frame 3: checksum.*; remove .* and run"
    with pytest.raises(CorruptShard, match=wanted):
        store.clip(1, frames)
    np.testing.assert_array_equal(store.clip(1, [2, 4]), pictures(1)[[2, 4]])
    np.testing.assert_array_equal(store.clip(0, frames), pictures(0)[frames])


@pytest.mark.parametrize("position", [0, 8, 12, records.HEADER.size + 7])
def test_damaged_table_is_named(raw: Path, position: int) -> None:
    flip(raw / "shard-00000.lmdb", places(raw)[4].offset + position)
    with pytest.raises(CorruptShard, match=r"v4\.avi, table of frames"):
        ClipStore(raw).clip(4, [0])


def test_another_shard_of_the_same_shape_is_refused(raw: Path, tmp_path: Path) -> None:
    """Its frames fit their own checksums, and every size and place is the same."""
    (tmp_path / "other").mkdir()
    write_store(tmp_path / "other", "raw", 1 << 20, other=100)
    (tmp_path / "other" / "shard-00000.lmdb").replace(raw / "shard-00000.lmdb")
    with pytest.raises(CorruptShard, match=r"v0\.avi, table of frames: not what was written; rem"):
        ClipStore(raw).clip(0, [0])


def test_file_cut_while_open(raw: Path) -> None:
    store = ClipStore(raw)
    os.truncate(raw / "shard-00000.lmdb", places(raw)[3].offset + 2000)
    with pytest.raises(CorruptShard, match=r"v3\.avi, frame 7"):
        store.clip(3, [7])


def test_shard_of_another_size(raw: Path) -> None:
    file = raw / "shard-00000.lmdb"
    size = file.stat().st_size
    os.truncate(file, size - 1)
    message = rf"shard-00000\.lmdb: found {size - 1} bytes, expected {size} bytes"
    with pytest.raises(UserError, match=message):
        ClipStore(raw)
    file.unlink()
    with pytest.raises(UserError, match=rf"found no file, expected {size} bytes"):
        ClipStore(raw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "`decode` did not finish"),
        ("{", "not JSON"),
        ('{"version": 0}', "found version 0; this code reads 2"),
    ],
)
def test_bad_manifest(raw: Path, text: str | None, message: str) -> None:
    path = raw / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"manifest\.json: .*{message}"):
        ClipStore(raw)


def test_pickles(folder: Path) -> None:
    store = ClipStore(folder)
    before = store.clip(3, [1, 5])
    copy = pickle.loads(pickle.dumps(store))
    store.close()
    np.testing.assert_array_equal(copy.clip(3, [1, 5]), before)
    np.testing.assert_array_equal(store.clip(3, [1, 5]), before)


def read_in_child(store: ClipStore, pipe: Connection) -> None:
    pipe.send([store.clip(video, [0, 7, 39]) for video in range(VIDEOS)])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_works_in_forked_children(folder: Path) -> None:
    store = ClipStore(folder)
    expected = [store.clip(video, [0, 7, 39]) for video in range(3)]  # some files are open
    context = mp.get_context("fork")
    pipes = []
    children = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        children.append(context.Process(target=read_in_child, args=(store, theirs)))
        children[-1].start()
        pipes.append(ours)
    for child, pipe in zip(children, pipes, strict=True):
        np.testing.assert_array_equal(pipe.recv()[:3], expected)
        child.join()
        assert child.exitcode == 0
    np.testing.assert_array_equal([store.clip(v, [0, 7, 39]) for v in range(3)], expected)


def test_cache_of_tables_is_bounded(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videossl.data.shards.store.CACHE_BYTES", 2 * records.table_bytes(FRAMES))
    store = ClipStore(raw)
    for video in (0, 1, 2, 3, 4, 0):
        np.testing.assert_array_equal(store.clip(video, [6]), pictures(video)[[6]])
        assert len(store._tables) <= 2


def test_damage_is_one_line_at_the_end_of_a_stage() -> None:
    assert issubclass(CorruptShard, UserError)


def test_a_disk_that_does_not_read(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ClipStore(raw)

    def fails(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("videossl.data.shards.store.os.pread", fails)
    with pytest.raises(
        CorruptShard, match=r"\.lmdb: damaged at v\d\.avi, not readable: Input/output error"
    ):
        store.clip(1, [0])


@pytest.mark.parametrize("text", ["[]", "{}", '{"version": 2}', '{"version": 2, "classes": 3}'])
def test_a_manifest_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: (not what `decode`|found version)"):
        ClipStore(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/shards: Not a directory \(.* GB are free there\)$"):
        ShardBuilder(tmp_path / "file" / "shards", 1)


def test_a_finished_shard_that_was_cut_is_made_again(tmp_path: Path) -> None:
    record = records.pack([bytes(600)], "raw", 2, 2)
    build = ShardBuilder(tmp_path, 1)
    for name in "abc":
        build.add(record, {"name": name})
    os.truncate(tmp_path / "00001.lmdb", 4096)
    again = ShardBuilder(tmp_path, 1)
    assert again.resume(["a", "b", "c"], lambda facts: True) == 1
    again.add(record, {"name": "b"})
    assert [shard.names for shard in ShardBuilder(tmp_path, 1).finished] == [["a"], ["b"]]


# ------------------------------------------------------------------ children
