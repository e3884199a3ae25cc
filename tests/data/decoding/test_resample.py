"""Sampling a video in time."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from support.movies import decode_dataset, reference, write_stamped, write_video
from videossl.data.datasets.index import Entry, Index
from videossl.data.decoding import resample, video
from videossl.data.decoding.locate import Unreadable
from videossl.data.shards import records
from videossl.data.shards.store import ClipStore


@given(
    gaps=st.lists(st.floats(0.004, 2.0), max_size=60),
    fps=st.floats(0.5, 120),
    start=st.floats(0, 100),
)
def test_each_tick_shows_the_last_frame_that_appeared(gaps, fps, start):
    times = (start + np.cumsum([0.0, *gaps])).tolist()
    found = resample.on_screen(times, fps)
    assert found[0] == 0
    assert found == sorted(found)
    for k, index in enumerate(found):
        tick = start + k / fps
        assert times[index] <= tick + 2 * resample.TICK
        assert index == len(times) - 1 or times[index + 1] > tick
    assert start + len(found) / fps > times[-1]  # no tick is left before the last frame


@given(frames=st.integers(1, 400), divisor=st.integers(1, 8), fps=st.sampled_from([24, 25, 30]))
def test_a_whole_fraction_of_the_rate_is_every_nth_frame(frames, divisor, fps):
    times = [number / fps for number in range(frames)]
    assert resample.on_screen(times, fps / divisor) == list(range(0, frames, divisor))
    assert resample.on_screen(times, float(fps)) == list(range(frames))


def test_a_higher_rate_repeats():
    assert resample.on_screen([0.0, 0.1, 0.2], 20.0) == [0, 0, 1, 1, 2]


def test_stamps_that_cannot_be_used_are_those_of_the_rate():
    assert resample.stamps([0.5, 0.7, 1.5], 10.0) == [0.5, 0.7, 1.5]
    for bad in ([None, 0.1, 0.2], [0.0, 0.0, 0.1], [0.2, 0.1, 0.3]):
        assert resample.stamps(bad, 10.0) == [0.0, 0.1, 0.2]
        assert resample.stamps(bad, 0.0) is None


# ------------------------------------------------------------------ through the decoders


@pytest.mark.parametrize("backend", ["decord", "pyav"])
@pytest.mark.parametrize("name", ["v.mkv", "v.mp4"])
def test_a_variable_rate_becomes_a_constant_one(tmp_path, backend, name):
    stamps = [0, 40, 80, 120, 400, 440, 1000, 1200, 1210, 1220, 1230, 1400]
    write_stamped(tmp_path / name, stamps)
    encode = records.encoder("raw", 95)
    plain = video.decode(tmp_path / name, backend, 48, encode)
    decoded = video.decode(tmp_path / name, backend, 48, encode, 10.0)
    expected = [max(i for i, s in enumerate(stamps) if s <= 100 * k) for k in range(15)]
    assert decoded.frames == [plain.frames[i] for i in expected]
    assert (decoded.fps, len(plain.frames)) == (10.0, len(stamps))
    assert decoded.warnings[-1] == f"{15 - len(set(expected))} frames repeated to reach 10 fps"
    assert decoded.decoder == backend


@pytest.mark.parametrize("backend", ["decord", "pyav"])
def test_the_stage_stores_the_asked_rate(tmp_path, backend):
    for name in ("a.mp4", "b.avi"):
        write_video(tmp_path / "videos" / name, 40)  # 29.97 fps
    adapter = type("Adapter", (), {})()
    entries = [Entry(name, 0, {"1": "train"}) for name in ("a.mp4", "b.avi")]
    adapter.read = lambda root: Index(["a"], root, entries)
    options = {"backend": backend, "codec": "raw", "fps": 30000 / 1001 / 2}
    manifest = decode_dataset(tmp_path / "videos", tmp_path / "out", adapter=adapter, **options)
    store = ClipStore(tmp_path / "out")
    for number, stored in enumerate(manifest["videos"]):
        assert (stored["frames"], stored["warnings"]) == (20, [])
        assert stored["source_fps"] == pytest.approx(2 * stored["fps"])
        whole = reference(tmp_path / "videos" / stored["name"])
        if backend == "pyav":
            np.testing.assert_array_equal(store.clip(number, range(20)), whole[::2])


@pytest.mark.parametrize(
    ("clock", "rate", "found"),
    [
        ([n / 24.98 for n in range(5000)], 25.0, 24.98),
        ([n / 24.98 for n in range(1000)], 25.0, 25.0),  # the last is less than a frame off
        ([0.0, 1.0, 3.0, 7.0], 25.0, 3 / 7),
        ([5.0, 5.5, 6.0], 0.0, 2.0),  # the file says none
        ([0.0, 0.04, 70000.0], 25.0, 25.0),  # a jump is no length
        ([0.0], 25.0, 25.0),
        ([], 25.0, 25.0),
    ],
)
def test_the_rate_is_that_of_the_clock_where_the_two_part(clock, rate, found):
    assert resample.measured_rate(clock, rate) == pytest.approx(found, rel=1e-12)


def test_no_time_at_all_is_refused():
    decoded = video.Decoded([b"a"] * 3, [None] * 3, 2, 2, 2, 2, 0.0, 0.0, 0, "pyav", [])
    with pytest.raises(Unreadable, match=r"no time stamps and no frame rate"):
        video._at_rate(decoded, 5.0)


def test_image_bytes_are_what_jpeg_readers_read():
    gray = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64, 1)
    stored = records.encoder("jpeg", 95, channels=1)(gray)
    found = simplejpeg.decode_jpeg(stored, "GRAY")
    assert found.shape == gray.shape
