"""Files that are no videos, covers beside a film, clocks that jump, pixels that are not square."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from support.odd_files import numbers, picture, write_video
from videossl.data.decoding import resample, video
from videossl.data.decoding.locate import Unreadable
from videossl.data.decoding.probe import Stamps, probe, trusted
from videossl.data.shards import records

BACKENDS = pytest.mark.parametrize("backend", ["decord", "pyav"])
MILLISECONDS = Fraction(1, 1000)
HOURS = 20 * 3600 * 1000  # in milliseconds


def read(
    path: Path, backend: str, fps: float | None = None, short_side: int = 48
) -> tuple[video.Decoded, NDArray[np.uint8]]:
    decoded = video.decode(path, backend, short_side, records.encoder("raw", 1), fps)
    shape = (-1, decoded.height, decoded.width, 3)
    return decoded, np.frombuffer(b"".join(decoded.frames), np.uint8).reshape(shape)


def write_at(path: Path, times: Sequence[int]) -> Path:
    """Frames whose packets say these milliseconds, in the order of the file."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = MILLISECONDS
        stream.codec_context.thread_count = 1
        stream.bit_rate = 4_000_000
        stream.options = {"bf": "0"}
        packets = []
        for number in range(len(times)):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = 40 * number, MILLISECONDS
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet, time in zip(packets, times, strict=True):
            packet.pts = packet.dts = time
            output.mux(packet)
    return path


def write_cover(path: Path, marked: bool, size: tuple[int, int] = (240, 320)) -> Path:
    """A film of 20 frames behind a picture."""
    with av.open(str(path), "w") as output:
        cover = output.add_stream("mjpeg", rate=25)
        film = output.add_stream("libx264", rate=25)
        assert isinstance(cover, av.VideoStream)
        assert isinstance(film, av.VideoStream)
        cover.height, cover.width, cover.pix_fmt = *size, "yuvj420p"
        film.height, film.width, film.pix_fmt = 48, 64, "yuv420p"
        film.bit_rate = 4_000_000
        if marked:
            cover.disposition = av.stream.Disposition.attached_pic
        still = av.VideoFrame.from_ndarray(np.full((*size, 3), 250, np.uint8), format="rgb24")
        output.mux(cover.encode(still.reformat(format="yuvj420p")))
        output.mux(cover.encode(None))
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number
            output.mux(film.encode(frame))
        output.mux(film.encode(None))
    return path


def write_wide(path: Path, aspect: Fraction, size: tuple[int, int] = (48, 64)) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        stream.bit_rate = 4_000_000
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


# ------------------------------------------------------------------ no videos


@pytest.mark.parametrize(
    ("name", "format_"),
    [("a.txt", "tty"), ("a.nfo", "tty"), ("a.ans", "tty"), ("a.cdg", "cdg"), ("a.vtt", "webvtt")],
)
@BACKENDS
def test_text_is_no_video(tmp_path, backend, name, format_):
    (tmp_path / name).write_bytes(b"what is in this film\n" * 3000)
    for _ in range(2):  # FFmpeg says it once only, unless asked
        with pytest.raises(Unreadable, match=rf"^not a video: FFmpeg takes it for '{format_}'"):
            read(tmp_path / name, backend)


def test_a_pattern_in_a_name_reads_no_neighbours(tmp_path):
    for name in [*(f"img{number}.png" for number in range(12)), "img%d.png"]:
        write_video(tmp_path / name, 1, codec="png", pix_fmt="rgb24")
    with pytest.raises(Unreadable, match=r"^not a video: FFmpeg takes it for 'image2'"):
        read(tmp_path / "img%d.png", "pyav")
    assert len(read(tmp_path / "img3.png", "pyav")[1]) == 1


def test_a_playlist_is_not_followed(tmp_path):
    write_video(tmp_path / "a.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.mp4\nfile a.mp4\n")
    with pytest.raises(Unreadable, match=r"^a playlist, not a video \(concat\)$"):
        read(tmp_path / "list.mp4", "pyav")


# ------------------------------------------------------------------ covers


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("size", [(240, 320), (48, 64)])
@BACKENDS
def test_a_cover_is_not_the_film(tmp_path, backend, marked, size):
    path = write_cover(tmp_path / "a.mp4", marked, size)
    assert numbers(read(path, backend)[1]).tolist() == list(range(20))


def test_a_cover_alone_is_no_video(tmp_path):
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=44100)
        cover = output.add_stream("mjpeg", rate=25)
        assert isinstance(cover, av.VideoStream)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        output.mux(sound.encode(silence))
        still = av.VideoFrame.from_ndarray(picture(3), format="rgb24").reformat(format="yuvj420p")
        output.mux(cover.encode(still))
        output.mux(cover.encode(None))
        output.mux(sound.encode(None))
    with pytest.raises(Unreadable, match=r"^no video stream, only a still picture$"):
        read(path, "pyav")


# ------------------------------------------------------------------ clocks


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv"])
@BACKENDS
def test_a_jump_of_the_clock_is_no_pause(tmp_path, backend, suffix):
    """Without this the 20 hours are filled with 360,000 copies of frame 9."""
    times = [40 * number + (HOURS if number >= 10 else 0) for number in range(20)]
    path = write_at(tmp_path / f"a.{suffix}", times)
    decoded, frames = read(path, backend, 5.0)
    assert numbers(frames).tolist() == [0, 5, 10, 15]
    assert "jumps of the clock, taken for no time: 1" in decoded.warnings
    native, frames = read(path, backend)
    assert len(frames) == 20
    assert native.fps == pytest.approx(25, rel=0.01)  # MP4: 20 frames in 20 hours
    assert native.warnings == []


@BACKENDS
def test_pauses_that_a_film_has_are_kept(tmp_path, backend):
    times = [40 * number + (8000 if number >= 10 else 0) for number in range(20)]
    decoded, frames = read(write_at(tmp_path / "a.mp4", times), backend, 5.0)
    assert numbers(frames).tolist() == [0, 5, *[9] * 40, 10, 15]
    assert decoded.decoder == backend


@BACKENDS
def test_a_clock_that_runs_back_is_taken_for_a_constant_rate(tmp_path, backend):
    write_video(tmp_path / "a.mpg", codec="mpeg2video")
    content = (tmp_path / "a.mpg").read_bytes()
    (tmp_path / "twice.mpg").write_bytes(content + content)
    decoded, frames = read(tmp_path / "twice.mpg", backend, 5.0)
    assert numbers(frames).tolist() == [0, 5, 10, 15] * 2
    assert decoded.decoder == "pyav"


@BACKENDS
def test_a_clock_that_begins_late_is_as_exact(tmp_path, backend):
    """Decord's own stamps are float32: after 20 hours, 8 ms apart at best."""
    path = write_at(tmp_path / "a.mkv", [HOURS + 41 * number for number in range(60)])
    clock = np.array(read(path, backend, 12.5)[0].times)
    expected = resample.on_screen([0.041 * number for number in range(60)], 12.5)
    np.testing.assert_allclose(clock - clock[0], 0.041 * np.array(expected), atol=1e-6)


def test_no_gap_is_filled_without_bound():
    for gap in (72_000.0, 1e12):
        for times in ([0.0, gap], [0.0, 0.04, gap], [0.0, gap, 2 * gap, 3 * gap]):
            chosen = resample.on_screen(times, 30.0)
            assert np.bincount(chosen).max() <= resample.HOLD * 30 + 1
            assert chosen[-1] >= len(times) - 2
            assert len(chosen) <= len(times) * resample.HOLD * 30 + 1


def test_stamps_that_contradict_themselves_are_not_trusted():
    good = [0.0, 0.04, 0.08, 0.12]
    assert trusted(Stamps(good, good), 0) == good
    shuffled = [0.0, 0.12, 0.04, 0.08]
    assert trusted(Stamps(shuffled, [-0.08, -0.04, 0.0, 0.04]), 2) == good
    assert trusted(Stamps(shuffled, good), 0) == []  # nothing that could be held back
    assert trusted(Stamps(good, [0.0, 0.04, 0.02, 0.06]), 2) == []
    assert trusted(Stamps([0.0, 0.04, 0.04, 0.12], good), 2) == []
    assert trusted(Stamps([0.0, None, 0.08, 0.12], good), 2) == []
    late = [*np.arange(20, 40) / 25, *np.arange(20) / 25]
    assert trusted(Stamps(late, [None] * 40), 2) == []


# ------------------------------------------------------------------ pixels


@BACKENDS
@pytest.mark.parametrize(
    ("aspect", "size", "stored"),
    [
        (Fraction(2), (48, 64), (24, 64)),
        (Fraction(1, 2), (48, 64), (48, 32)),
        (Fraction(64, 45), (576, 720), (48, 86)),  # PAL 16:9
        (Fraction(1281, 1280), (48, 64), (48, 64)),  # a rounding of sizes
        (Fraction(1000), (48, 64), (48, 64)),  # no camera has these
    ],
)
def test_pixels_are_stored_square(tmp_path, backend, aspect, size, stored):
    decoded, frames = read(write_wide(tmp_path / "a.mp4", aspect, size), backend)
    assert frames.shape == (20, *stored, 3)
    assert (decoded.source_height, decoded.source_width) == size
    assert decoded.decoder == backend
    told = aspect if aspect < 1000 else Fraction(1)
    assert decoded.pixel_aspect == f"{told.numerator}:{told.denominator}"
    if size == (48, 64):
        assert numbers(frames).tolist() == list(range(20))


# ------------------------------------------------------------------ ends


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "flv", "ts", "mpg", "m4v", "mjpeg"])
def test_no_whole_file_ends_early(tmp_path, suffix):
    codec = {"webm": "libvpx", "mpg": "mpeg2video", "m4v": "mpeg4", "mjpeg": "mjpeg"}
    pixels = "yuvj420p" if suffix == "mjpeg" else "yuv420p"
    path = write_video(
        tmp_path / f"a.{suffix}", 25, codec=codec.get(suffix, "libx264"), pix_fmt=pixels
    )
    assert probe(path).early_end == ""


def test_a_long_last_frame_is_no_early_end(tmp_path):
    times = [*range(0, 400, 40), 5000]
    assert probe(write_at(tmp_path / "a.mkv", times)).early_end == ""


@pytest.mark.parametrize("percent", [60, 95])
def test_a_cut_matroska_file_ends_early(tmp_path, percent):
    path = write_video(tmp_path / "a.mkv", 30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * percent // 100])
    assert probe(path).early_end.startswith("the file ends after ")
