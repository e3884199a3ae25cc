"""The stage ``motion`` on videos whose motion is known."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from videossl.data.motion import compute
from videossl.data.motion.store import MotionStore
from videossl.data.shards import records
from videossl.data.shards.builder import ShardBuilder, publish
from videossl.data.shards.store import ClipStore
from videossl.job import Job, UserError
from videossl.study.schema import Motion

SIDE, FRAMES = 64, 12
OPTIONS = Motion(
    data="toy",
    algorithm="dis",
    content="flow",
    step=2,
    bound=8.0,
    codec="raw",
    quality=95,
    shard_megabytes=1,
)
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
    folder: Path = tmp_path_factory.mktemp("clips")
    build = ShardBuilder(tmp_path_factory.mktemp("scratch"), 1)
    encode = records.encoder("raw", 95)
    for name, speed in SPEEDS.items():
        frames = [encode(frame) for frame in sliding(*speed)]
        facts = {"name": name, "label": 0, "splits": {"1": "train"}, "frames": FRAMES}
        size = {"height": SIDE, "width": SIDE, "fps": 25.0}
        build.add(records.pack(frames, "raw", SIDE, SIDE), facts | size)
    publish(
        folder, build.finished, build.close(), {"classes": ["a"], "codec": "raw", "channels": 3}
    )
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
