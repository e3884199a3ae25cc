"""Films that are annotated in a part only: that part is stored, and times are still the film's."""

from __future__ import annotations

import json
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.movies import decode_dataset, reference, write_stamped, write_video
from videossl.data.datasets.index import Entry, Index
from videossl.data.decoding import resample, video
from videossl.data.decoding.locate import Unreadable
from videossl.data.shards import records
from videossl.data.shards.store import ClipStore
from videossl.downstream.kinds import moments
from videossl.job import UserError

RATE = 30000 / 1001
RAW = records.encoder("raw", 95)
BACKENDS = pytest.mark.parametrize("backend", ["decord", "pyav"])


@given(
    gaps=st.lists(st.integers(1, 9), max_size=30),
    first=st.integers(-5, 5),
    span=st.tuples(st.integers(0, 100), st.integers(1, 100)),
)
def test_a_span_has_the_frames_that_appear_in_it(
    gaps: list[int], first: int, span: tuple[int, int]
) -> None:
    times = (first + np.concatenate(([0], np.cumsum(gaps)))).astype(float).tolist()
    start, end = span[0], span[0] + span[1]
    numbers, begin = resample.within(times, (start, end))
    expected = [n for n, time in enumerate(times) if start <= time - times[0] < end]
    assert [*numbers] == expected
    assert begin == (times[expected[0]] - times[0] if expected else 0.0)


def test_a_clock_that_jumps_is_taken_without_its_jump() -> None:
    times = [0.0, 1.0, 2.0, 70000.0, 70001.0, 70002.0]
    assert resample.within(times, (2.5, 4.5)) == (range(3, 5), 3.0)


@BACKENDS
@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.avi"])
def test_a_part_is_decoded_as_in_the_whole(tmp_path: Path, backend: str, name: str) -> None:
    write_video(tmp_path / name, 60, bf="0")
    whole = video.decode(tmp_path / name, backend, 48, RAW)
    part = video.decode(tmp_path / name, backend, 48, RAW, span=(0.5, 1.2))
    assert part.frames == whole.frames[15:36]
    assert (part.begin, whole.begin) == (pytest.approx(15 / RATE, abs=1e-3), 0.0)
    assert (part.decoder, part.warnings) == (backend, [])
    rest = video.decode(tmp_path / name, backend, 48, RAW, span=(0.5, 9.0))
    assert rest.frames == whole.frames[15:]
    assert rest.warnings == ["it ends after 2.0 s; its annotations are of seconds 0.5 to 9"]


@BACKENDS
def test_a_part_at_another_rate(tmp_path: Path, backend: str) -> None:
    stamps = [0, 40, 80, 120, 400, 440, 1000, 1200, 1210, 1220, 1230, 1400]
    write_stamped(tmp_path / "v.mkv", stamps)
    whole = video.decode(tmp_path / "v.mkv", backend, 48, RAW)
    part = video.decode(tmp_path / "v.mkv", backend, 48, RAW, 10.0, (0.1, 1.21))
    shown = [3, 3, 3, 4, 5, 5, 5, 5, 5, 6, 6]  # at 120, 220, … 1120 ms
    assert part.frames == [whole.frames[number] for number in shown]
    assert part.begin == pytest.approx(0.12)
    assert part.fps == 10.0


@BACKENDS
def test_without_a_clock_the_rate_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    write_video(tmp_path / "v.mkv", 60, bf="0")
    whole = video.decode(tmp_path / "v.mkv", backend, 48, RAW)
    facts = replace(video.probe(tmp_path / "v.mkv"), clock=[])
    monkeypatch.setattr(video, "probe", lambda path: facts)
    part = video.decode(tmp_path / "v.mkv", backend, 48, RAW, span=(0.5, 1.2))
    assert part.frames == whole.frames[15:36]
    assert part.begin == pytest.approx(15 / RATE, abs=1e-3)
    monkeypatch.setattr(video, "probe", lambda path: replace(facts, fps=0.0))
    with pytest.raises(Unreadable, match=r"no time stamps and no frame rate; its annotations are"):
        video.decode(tmp_path / "v.mkv", backend, 48, RAW, span=(0.5, 1.2))


def test_what_lies_behind_the_part_is_not_read(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mkv", 60, g="10")
    kept: list[int] = []
    video.decode(tmp_path / "v.mkv", "pyav", 48, lambda image: kept.append(1), span=(0.5, 1.2))
    assert len(kept) == 21


def test_a_film_that_ends_before_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", 60)
    message = r"it ends after 2\.0 s; its annotations are of seconds 895 to 1805"
    with pytest.raises(Unreadable, match=message):
        video.decode(tmp_path / "v.mp4", "pyav", 48, RAW, span=(895.0, 1805.0))


def test_a_damaged_part_is_read_as_a_damaged_file_is(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mkv", 120, g="12", bf="0")
    content = bytearray((tmp_path / "v.mkv").read_bytes())
    middle = len(content) * 2 // 5
    content[middle : middle + 40] = bytes(40)
    (tmp_path / "v.mkv").write_bytes(content)
    part = video.decode(tmp_path / "v.mkv", "decord", 48, RAW, span=(0.2, 3.5))
    assert part.decoder == "pyav"
    assert part.warnings[0].startswith("decoded with PyAV: decord ")


# ------------------------------------------------------------------ the stage


def adapter(*spans: tuple[float, float] | None) -> Any:
    entries = [
        Entry(f"{letter}.mp4", 0, {"1": "train"}, None, span)
        for letter, span in zip("abcdefgh", spans, strict=False)
    ]
    return types.SimpleNamespace(read=lambda root: Index(["x"], root, entries))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("films")
    for letter in "abc":
        write_video(root / f"{letter}.mp4", 90)
    return root


@BACKENDS
def test_the_stage_stores_spans_and_finds_their_moments(
    films: Path, tmp_path: Path, backend: str
) -> None:
    options = {"codec": "raw", "backend": backend}
    spans = adapter((1.0, 2.0), None, (2.5, 9.0))
    manifest = decode_dataset(films, tmp_path / "out", adapter=spans, **options)
    first, second, third = manifest["videos"]
    assert (first["frames"], second["frames"], third["frames"]) == (30, 90, 15)
    assert first["span"] == [1.0, 2.0]
    assert "span" not in second
    assert "begin" not in second
    store = ClipStore(tmp_path / "out")
    whole = reference(films / "a.mp4")
    for number, time in ((0, 1.5), (1, 1.5), (2, 2.7)):
        stored = store.videos[number]
        frame = moments.at_second(stored, time)
        assert frame is not None
        shown = store.clip(number, [frame])[0].astype(int)
        assert np.abs(shown - whole[round(time * RATE)]).max() <= (6 if backend == "decord" else 0)
        assert moments.at_frame(stored, round(time * RATE)) == frame
    assert [moments.at_second(store.videos[0], time) for time in (0.0, 0.9, 2.1)] == [None] * 3
    assert moments.at_frame(store.videos[0], 29) is None


def test_another_span_is_decoded_again_and_other_shards_are_taken_over(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"codec": "raw", "backend": "pyav"}
    before = adapter((0.0, 9.0), (0.0, 2.9), (1.0, 2.0))
    decode_dataset(films, tmp_path / "one", adapter=before, **options)
    (tmp_path / "one" / "stage.json").write_text(json.dumps({"code": {}}))  # it was finished
    capsys.readouterr()
    after = adapter((0.0, 9.0), (0.0, 2.9), (1.0, 2.5))
    manifest = decode_dataset(films, tmp_path / "two", adapter=after, **options)
    assert [stored["frames"] for stored in manifest["videos"]] == [90, 87, 45]
    assert "2 videos stored earlier" in capsys.readouterr().err


def test_no_film_is_long_enough(films: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"first: a\.mp4: it ends after 3\.0 s; its annotations"):
        decode_dataset(films, tmp_path / "out", adapter=adapter((895.0, 1805.0)))
