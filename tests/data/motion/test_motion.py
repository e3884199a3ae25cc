"""The stage ``motion`` on videos whose motion is known."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.specs import FLOW
from videossl.data.motion import compute
from videossl.data.motion.store import MotionStore
from videossl.data.shards import recording, records
from videossl.data.shards.builder import ShardBuilder, publish
from videossl.data.shards.store import ClipStore
from videossl.job import Job, UserError

SIDE, FRAMES = 64, 12
OPTIONS = FLOW.model_copy(update={"data": "toy", "step": 2, "bound": 8.0})
SPEEDS = {"down.mp4": (0, 2), "right.mp4": (1, 0), "still.mp4": (0, 0)}


def texture(size: int) -> NDArray[np.uint8]:
    """(size, size): blobs, so that motion shows in every direction."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    smooth = np.fft.irfft2(spectrum * np.exp(-((radius / 0.08) ** 2)), (size, size))
    scaled: NDArray[np.uint8] = np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return scaled


def sliding(u: int, v: int) -> NDArray[np.uint8]:
    """(T, H, W, 3): the texture moves by (u, v) pixels a frame."""
    picture = texture(128)
    frames = [np.roll(picture, (v * t, u * t), (0, 1))[32:96, 32:96] for t in range(FRAMES)]
    return np.repeat(np.stack(frames)[..., None], 3, axis=3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored videos with known motion."""
    return stored(tmp_path_factory, dict.fromkeys(SPEEDS, FRAMES))


def stored(tmp_path_factory: pytest.TempPathFactory, lengths: dict[str, int]) -> Path:
    """Videos of these many frames, in shards."""
    folder: Path = tmp_path_factory.mktemp("clips")
    build = ShardBuilder(tmp_path_factory.mktemp("scratch"), 1)
    encode = records.encoder("raw", 95)
    for name, length in lengths.items():
        frames = [encode(frame) for frame in sliding(*SPEEDS[name])[:length]]
        facts = {"name": name, "label": 0, "splits": {"1": "train"}, "frames": length}
        size = {"height": SIDE, "width": SIDE, "fps": 25.0}
        build.add(records.pack(frames, "raw", SIDE, SIDE), facts | size)
    late = build.close()
    publish(folder, build.finished, late, {"classes": ["a"], "codec": "raw", "channels": 3})
    return folder


def make(clips: Path, out: Path, threads: int = 1, **options: Any) -> MotionStore:
    out.mkdir()
    job = Job(
        stage="motion",
        key={"motion": "flow"},
        inputs={"shards": (clips,)},
        out=out,
        scratch=out.with_name(f"{out.name}-scratch"),
        threads=threads,
        modules={},
    )
    params = types.SimpleNamespace(motion=OPTIONS.model_copy(update=options))
    compute.run(job, params)  # type: ignore[arg-type]
    return MotionStore(out)


@pytest.mark.parametrize("algorithm", ["dis", "farneback"])
def test_flow_is_pixels_per_step(clips: Path, tmp_path: Path, algorithm: str) -> None:
    store = make(clips, tmp_path / "out", algorithm=algorithm)
    assert [video.name for video in store.videos] == list(SPEEDS)
    assert [video.frames for video in store.videos] == [FRAMES] * 3
    for number, (u, v) in enumerate(SPEEDS.values()):
        flow = store.flow(number, range(FRAMES))
        assert flow.shape == (FRAMES, 2, SIDE, SIDE)
        inner = flow[..., 16:-16, 16:-16]
        assert np.median(inner, axis=(0, 2, 3)) == pytest.approx((2 * u, 2 * v), abs=0.15)
        # the first frames have no pair of their own
        np.testing.assert_array_equal(flow[:2], flow[[2, 2]])


def test_edges_are_where_motion_changes(tmp_path: Path) -> None:
    flow = np.zeros((SIDE, SIDE, 2), np.float32)
    assert not compute.edge_image(flow, 10.0).any()
    flow[20:40, 20:40] = (3.0, 4.0)  # length 5
    image = compute.edge_image(flow, 10.0)
    assert image[30, 19] == image[30, 20] == 255  # 4 x 5 = 20 is clipped
    assert image[30, 30] == image[5, 5] == 0
    assert (image > 0).sum() == 22**2 - 18**2
    assert compute.edge_image(flow, 40.0)[30, 19] == round(255 * 20 / 40)


def test_edges_of_stored_videos(clips: Path, tmp_path: Path) -> None:
    store = make(clips, tmp_path / "out", content="edges", codec="jpeg")
    still = store.edges(list(SPEEDS).index("still.mp4"), range(FRAMES))
    assert still.shape == (FRAMES, SIDE, SIDE)
    assert still.max() == 0


@given(u=st.floats(-30, 30), v=st.floats(-30, 30), bound=st.floats(0.5, 20))
@settings(max_examples=50)
def test_eight_bits_keep_flow_to_half_a_level(u: float, v: float, bound: float) -> None:
    flow = np.full((4, 6, 2), (u, v), np.float32)
    image = compute.flow_image(flow, bound)
    assert image.shape == (8, 6)
    back = (image.astype(float) - compute.ZERO) * bound / compute.SCALE
    for rows, value in ((back[:4], u), (back[4:], v)):
        assert np.abs(rows - np.clip(value, -bound, bound)).max() <= 0.51 * bound / compute.SCALE


def test_same_bytes_whoever_computes_and_after_an_end_in_the_middle(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_records = property(lambda self: self.records == 2)
    monkeypatch.setattr(records.ShardWriter, "full", two_records)
    make(clips, tmp_path / "one")
    make(clips, tmp_path / "two", threads=2)

    def content(name: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    assert content("one") == content("two")
    assert len(content("one")) > 2
    add = ShardBuilder.add

    def dies(self: ShardBuilder, record: bytes, facts: dict[str, Any]) -> None:
        if facts["name"] == "still.mp4":
            raise KeyboardInterrupt
        add(self, record, facts)

    with monkeypatch.context() as patch:
        patch.setattr(ShardBuilder, "add", dies)
        with pytest.raises(KeyboardInterrupt):
            make(clips, tmp_path / "cut")
    (tmp_path / "cut").rmdir()
    make(clips, tmp_path / "cut")
    assert content("cut") == content("one")


def test_damaged_clips_are_named(clips: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in clips.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((damaged / "manifest.json").read_text())
    place = manifest["videos"][1]
    file = damaged / manifest["shards"][place["shard"]]["file"]
    data = bytearray(file.read_bytes())
    data[place["offset"] + 5000] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"right\.mp4, frame 0: checksum mismatch"):
        make(damaged, tmp_path / "out")


def test_flow_of_a_store_is_its_clips_order(clips: Path, tmp_path: Path) -> None:
    store = make(clips, tmp_path / "out")
    source = ClipStore(clips)
    assert [v.name for v in store.videos] == [v.name for v in source.videos]
    assert [v.splits for v in store.videos] == [v.splits for v in source.videos]


# ------------------------------------------------------------------ in bounded memory


def test_chunks_change_nothing(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, frame by frame, and in chunks that the step does not divide."""
    store = ClipStore(clips)
    read: list[int] = []
    clip = ClipStore.clip

    def noted(self: ClipStore, video: int, frames: Any, out: Any = None) -> NDArray[np.uint8]:
        read.append(len(frames))
        return clip(self, video, frames, out)

    monkeypatch.setattr(ClipStore, "clip", noted)
    frame = 3 * SIDE * SIDE
    records_ = []
    for size in (FRAMES * frame, 5 * frame, frame, 1):
        read.clear()
        monkeypatch.setattr(compute, "CHUNK_BYTES", size)
        records_.append(compute.record_of(store, OPTIONS, clips, 1, 0))
        assert max(read) == max(1, size // frame)
        assert sum(read) == FRAMES
    assert set(records_) == {records_[0]}


def test_motion_of_a_long_video_is_that_of_a_short_one(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ClipStore(clips)
    whole = compute.record_of(store, OPTIONS, tmp_path, 1, 0)
    monkeypatch.setattr(recording, "IN_MEMORY", 0)
    file = compute.record_of(store, OPTIONS, tmp_path, 1, 0)
    assert isinstance(file, Path)
    assert file.read_bytes() == whole


# ------------------------------------------------------------------ videos without motion


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, of which the second has no pair of frames two apart."""
    return stored(tmp_path_factory, {"down.mp4": FRAMES, "right.mp4": 2, "still.mp4": FRAMES})


@pytest.mark.parametrize("per_shard", [1, 9])
def test_a_video_without_motion_is_a_reject(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_shard: int
) -> None:
    full = property(lambda self: self.records == per_shard)
    monkeypatch.setattr(records.ShardWriter, "full", full)
    store = make(short, tmp_path / "out")
    reason = "2 frames; motion.step is 2"
    assert store.rejects == [{"name": "right.mp4", "reason": reason}]
    assert [video.name for video in store.videos] == ["down.mp4", "still.mp4"]
    clips = ClipStore(short)
    assert store.missing(clips) == {"right.mp4"}
    before = [store.clip(number, range(FRAMES)) for number in range(2)]
    store.check(clips)
    assert [video.name for video in store.videos] == list(SPEEDS)  # as in the clips
    assert store.missing(clips) == {"right.mp4"}
    there = pickle.loads(pickle.dumps(store))  # as in a reader
    for which in (store, there):
        np.testing.assert_array_equal(which.clip(0, range(FRAMES)), before[0])
        np.testing.assert_array_equal(which.clip(2, range(FRAMES)), before[1])
        assert which.number("still.mp4") == 2
        with pytest.raises(UserError, match=rf"no motion of right\.mp4: {reason}"):
            which.clip(1, [0])


def test_no_motion_at_all_is_one_line(short: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no motion of any of 3 videos; first: down\.mp4: 12 fra"):
        make(short, tmp_path / "out", step=FRAMES)


def test_motion_of_other_videos_is_refused(clips: Path, short: Path, tmp_path: Path) -> None:
    store = make(short, tmp_path / "out")
    store.check(ClipStore(short))
    fewer = json.loads((short / "manifest.json").read_text())
    for change in ("one fewer", "other frames"):
        other = tmp_path / change
        shutil.copytree(short, other)
        changed = copy.deepcopy(fewer)
        if change == "one fewer":
            del changed["videos"][0]
        else:
            changed["videos"][0]["frames"] -= 1
        (other / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=r"not the \d of .*; run the stage motion on these"):
            MotionStore(tmp_path / "out").check(ClipStore(other))


def test_a_full_disk_is_one_line(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills(self: Any, record: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.ShardWriter, "put", fills)
    with pytest.raises(UserError, match=r"No space left on device \(.* GB are free there\); fini"):
        make(clips, tmp_path / "out")
