"""Real clips through shards and back, against a plain sequential decode written here.

PyAV's frames have to be equal. Decord converts to RGB as swscale does by default, where we ask for
exact rounding, so its frames are compared with the default conversion. They are equal too, but for
MPEG-4 part 2: there three values in a million differ by up to two levels, whatever the conversion.
"""

from __future__ import annotations

import shutil
import types
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from support.movies import REAL, decode_dataset
from videossl.data.datasets.index import Entry, Index
from videossl.data.shards.store import ClipStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REAL is None, reason="the real clips (shared/videos) are not here"),
    pytest.mark.xdist_group(
        "real clips"
    ),  # one process: a store takes more than a gigabyte of disk
]

NATIVE = 2160  # a short side that no clip reaches, so that nothing is resized
EXACT = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
DECORD_LEVELS = 2
CLIPS, LENGTH = 240, 16
LUMA = np.array([[0.299], [0.587], [0.114]])
# Test patterns. Their colours are saturated and change from one pixel to the next, which JPEG's
# 4:2:0 does not keep at any quality: stored as 4:4:4 they have more than 43 dB.
PATTERNS = {
    "decord_corrupted.mp4",
    "tc_av1_video.mkv",
    "tc_h264_10bits.mp4",
    "tc_h265_video.mp4",
}
B_FRAMES = (  # in AVI: two files of HMDB51, and a longer one
    "mma2_test.avi",
    "RATRACE_wave_f_nm_np1_fr_goo_37.avi",
    "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
)
NAMES = sorted(path.name for path in REAL.iterdir() if path.suffix != ".md") if REAL else []
BACKENDS = ("decord", "pyav")
RAW = [(backend, "raw") for backend in BACKENDS]
Frames = NDArray[np.uint8]


def plain(name: str, interpolation: Interpolation) -> Frames:
    """Every frame that comes out of the decoder, first to last, upright, (T, H, W, 3)."""
    assert REAL is not None
    reformatter = VideoReformatter()
    frames = []
    with av.open(str(REAL / name), metadata_errors="ignore") as container:
        stream = container.streams.best("video")
        stream.thread_count = 1  # what a damaged packet leaves depends on it
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in decoded:
                rgb = reformatter.reformat(frame, format="rgb24", interpolation=interpolation)
                frames.append(np.rot90(rgb.to_ndarray(), frame.rotation // 90))
    return np.stack(frames)


def worst_psnr(found: Frames, expected: Frames, weights: NDArray[np.float64]) -> float:
    """Of the worst frame, in dB; ``weights`` (3, C) make channels of RGB."""
    errors = [
        np.mean(((one.astype(np.int16) - other) @ weights) ** 2)
        for one, other in zip(found, expected, strict=True)
    ]
    return float(10 * np.log10(255.0**2 / max(1e-9, *errors)))


def nearest(found: Frames, candidates: Frames) -> NDArray[np.int64]:
    """For each of ``found`` the most similar candidate, the one of its own number first."""
    thin = [
        frames[:, ::3, ::3].reshape(len(frames), -1).astype(np.float64)
        for frames in (found, candidates)
    ]
    products = thin[0] @ thin[1].T
    squares = [np.einsum("tp,tp->t", one, one) for one in thin]
    distances = squares[0][:, None] + squares[1][None] - 2 * products
    own = np.arange(len(found))
    best = distances.argmin(1)
    tied = distances[own, own] <= distances[own, best]
    return np.where(tied, own, best)


@dataclass
class Stored:
    """All clips, stored with one backend and codec."""

    backend: str
    store: ClipStore
    decoders: dict[str, str]  # what decoded a clip

    def number(self, name: str) -> int:
        return [video.name for video in self.store.videos].index(name)

    def frames(self, name: str) -> Frames:
        number = self.number(name)
        return self.store.clip(number, range(self.store.videos[number].frames))


@pytest.fixture(scope="module")
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stored]:
    """Parametrised with backend and codec; one store is on the disk at a time."""
    backend, codec = request.param
    entries = [Entry(name, 0, {"1": "train"}) for name in NAMES]
    adapter = types.SimpleNamespace(read=lambda root: Index(["a"], root, entries))
    folder = tmp_path_factory.mktemp("real")
    manifest = decode_dataset(
        REAL,
        folder / "clips",
        threads=2,
        adapter=adapter,
        backend=backend,
        codec=codec,
        quality=95,
        short_side=NATIVE,
        min_frames=3,
        shard_megabytes=256,
    )
    assert manifest["rejects"] == []
    decoders = {facts["name"]: facts["decoder"] for facts in manifest["videos"]}
    yield Stored(backend, ClipStore(folder / "clips"), decoders)
    shutil.rmtree(folder)  # raw frames: more than a gigabyte


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """The table that is printed at the end (shown with ``-s``)."""
    table = [f"{'clip':30} {'backend':8} {'decoder':8} frames max|d| own  PSNR  luma"]
    yield table
    print("\n" + "\n".join(table))


@pytest.mark.parametrize("stored", RAW, indirect=True, ids=BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_raw_frames_are_those_of_a_plain_decode(stored: Stored, rows: list[str], name: str) -> None:
    found, decoder = stored.frames(name), stored.decoders[name]
    by_decord = decoder == "decord"
    expected = plain(name, Interpolation.BILINEAR if by_decord else EXACT)
    assert found.shape == expected.shape
    levels = max(
        int(np.abs(one.astype(np.int16) - other).max())
        for one, other in zip(found, expected, strict=True)
    )
    own = int(np.sum(nearest(found, expected) == np.arange(len(found))))
    rows.append(f"{name[:30]:30} {stored.backend:8} {decoder:8} {len(found):6} {levels:6} {own:3}")
    assert levels <= (DECORD_LEVELS if by_decord else 0)
    assert own == len(found)


@pytest.mark.parametrize("stored", [("pyav", "jpeg")], indirect=True, ids=["jpeg"])
@pytest.mark.parametrize("name", NAMES)
def test_jpeg_frames_are_close_to_a_plain_decode(
    stored: Stored, rows: list[str], name: str
) -> None:
    found, decoder = stored.frames(name), stored.decoders[name]
    expected = plain(name, EXACT)
    assert found.shape == expected.shape
    psnr, luma_psnr = (worst_psnr(found, expected, weights) for weights in (np.eye(3), LUMA))
    own = int(np.sum(nearest(found, expected) == np.arange(len(found))))
    rows.append(
        f"{name[:30]:30} {'jpeg 95':8} {decoder:8} {len(found):6} {'':6} {own:3} "
        f"{psnr:5.1f} {luma_psnr:5.1f}"
    )
    assert luma_psnr > 40
    assert psnr > 35 or name in PATTERNS
    assert own == len(found)


@pytest.mark.parametrize("stored", RAW, indirect=True, ids=BACKENDS)
@pytest.mark.parametrize("name", B_FRAMES)
def test_clips_are_the_frames_asked_for(stored: Stored, rows: list[str], name: str) -> None:
    """Of HMDB51's two, decord's own ``get_batch`` returns the right frames for 20 clips of 480."""
    number = stored.number(name)
    expected = plain(name, EXACT)
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(CLIPS):
        longest = min(8, (len(expected) - 1) // (LENGTH - 1))
        stride = int(random.integers(1, longest + 1))
        start = int(random.integers(len(expected) - stride * (LENGTH - 1)))
        frames = start + stride * np.arange(LENGTH)
        wrong += not np.array_equal(stored.store.clip(number, frames), expected[frames])
    decoder = stored.decoders[name]
    rows.append(f"{name[:30]:30} {stored.backend:8} {decoder:8} {wrong} of {CLIPS} clips wrong")
    assert wrong == 0
