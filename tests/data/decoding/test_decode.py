"""The stage ``decode`` on files made here and on real clips."""

import types
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.movies import OPTIONS, REAL, decode_dataset, manifest_of, reference, scene, write_video
from videossl.data.datasets import ucf101
from videossl.data.datasets.index import Entry, Index
from videossl.data.decoding import decode, isolate, video
from videossl.data.shards import records
from videossl.data.shards.store import ClipStore
from videossl.job import UserError

LENGTHS = {"Grow/a.mp4": 30, "Grow/b.avi": 21, "Turn/c.mp4": 12, "Turn/d.avi": 24}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in UCF101's layout with good and bad files."""
    root: Path = tmp_path_factory.mktemp("tree")
    videos = root / "UCF-101"
    for name, frames in LENGTHS.items():
        write_video(videos / name, frames, bf="2" if name.startswith("Turn") else "0")
    bad = {"Turn/empty.avi": b"", "Turn/text.mp4": b"not a video\n" * 500}
    whole = (videos / "Grow/a.mp4").read_bytes()
    bad["Turn/truncated.mp4"] = whole[: len(whole) // 2]  # its index is at the end: lost
    bad["Turn/image.mp4"] = simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8))
    for name, content in bad.items():
        (videos / name).write_bytes(content)
    names = sorted([*LENGTHS, *bad])
    lists = {
        "classInd.txt": ["1 Grow", "2 Turn"],
        "trainlist01.txt": names[::2],
        "testlist01.txt": names[1::2],
    }
    (root / "ucfTrainTestlist").mkdir()
    for name, lines in lists.items():
        (root / "ucfTrainTestlist" / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def stored(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree decoded with one child."""
    out: Path = tmp_path_factory.mktemp("stored") / "out"
    decode_dataset(tree, out)
    return out


# ------------------------------------------------------------------ the stage


def test_manifest_tells_how_many_videos_are_not_there(tree: Path, tmp_path: Path) -> None:
    index = replace(ucf101.read(tree), absent=["Grow/lost.avi", "Turn/lost.avi"])
    adapter = types.SimpleNamespace(read=lambda root: index)
    assert decode_dataset(tree, tmp_path / "out", adapter=adapter)["absent"] == 2


def test_manifest_tells_every_video(stored: Path, tree: Path) -> None:
    manifest = manifest_of(stored)
    assert list(manifest) == sorted(manifest)
    assert manifest["dataset"] == "toy"
    assert manifest["classes"] == ["Grow", "Turn"]
    assert manifest["decode"] == OPTIONS.model_dump()
    assert set(manifest["libraries"]) == {"av", "decord", "lmdb", "simplejpeg"}
    assert [v["name"] for v in manifest["videos"]] == sorted(LENGTHS)
    assert {v["name"]: v["frames"] for v in manifest["videos"]} == LENGTHS
    first = manifest["videos"][0]
    assert (first["label"], first["splits"]) == (0, {"1": "train"})
    sizes = [first[f"{kind}{side}"] for kind in ("", "source_") for side in ("height", "width")]
    assert sizes == [48, 64, 48, 64]
    assert first["fps"] == pytest.approx(30000 / 1001)
    assert str(tree) not in (stored / "manifest.json").read_text()


def test_decord_reads_what_it_can_and_pyav_the_rest(stored: Path) -> None:
    found = {v["name"]: (v["decoder"], v["warnings"]) for v in manifest_of(stored)["videos"]}
    b_frames = ["decoded with PyAV: B-frames in AVI, which decord miscounts"]
    assert found["Grow/a.mp4"] == found["Turn/c.mp4"] == found["Grow/b.avi"] == ("decord", [])
    assert found["Turn/d.avi"][0] == "pyav"
    assert found["Turn/d.avi"][1][:1] == b_frames


def test_bad_files_are_listed_with_their_reasons(stored: Path) -> None:
    invalid = "InvalidDataError: Invalid data found when processing input"
    assert {r["name"]: r["reason"] for r in manifest_of(stored)["rejects"]} == {
        "Turn/empty.avi": invalid,
        "Turn/text.mp4": invalid,
        "Turn/truncated.mp4": invalid,
        "Turn/image.mp4": "1 frames; decode.min_frames is 8",
    }


def test_same_bytes_with_two_children(stored: Path, tree: Path, tmp_path: Path) -> None:
    decode_dataset(tree, tmp_path / "out", threads=2)
    contents = [
        {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        for folder in (stored, tmp_path / "out")
    ]
    assert list(contents[0]) == ["manifest.json", "shard-00000.lmdb"]
    assert contents[0] == contents[1]


def test_round_trip_in_jpeg(stored: Path, tree: Path) -> None:
    store = ClipStore(stored)
    for index, facts in enumerate(store.videos):
        expected = reference(tree / "UCF-101" / facts.name)
        clip = store.clip(index, range(facts.frames))
        assert clip.shape == expected.shape
        error = np.mean((clip.astype(float) - expected) ** 2, axis=(1, 2, 3))
        assert np.all(10 * np.log10(255**2 / error) > 30)


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_round_trip_in_raw(tree: Path, tmp_path: Path, backend: str) -> None:
    decode_dataset(tree, tmp_path / "out", codec="raw", backend=backend)
    store = ClipStore(tmp_path / "out")
    for index, facts in enumerate(store.videos):
        clip = store.clip(index, range(facts.frames))
        expected = reference(tree / "UCF-101" / facts.name)
        if backend == "pyav":
            np.testing.assert_array_equal(clip, expected)
        else:  # the same frames; the FFmpeg in decord rounds differently on the way to RGB
            assert np.abs(clip.astype(int) - expected).max() <= 6


def test_no_video_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
    adapter = types.SimpleNamespace(read=lambda root: Index(["a"], root, [Entry("x.mp4", 0, {})]))
    with pytest.raises(UserError, match=r"none of 1 videos can be stored; first: x\.mp4: Invalid"):
        decode_dataset(tmp_path, tmp_path / "out", adapter=adapter)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_second_attempt_is_the_first_again_and_the_third_uses_pyav_and_says_so(tree: Path) -> None:
    first, second, third = (
        decode.store_one(tree / "UCF-101", OPTIONS, tree, "Grow/a.mp4", attempt)
        for attempt in range(3)
    )
    assert first == second
    assert third.facts["decoder"] == "pyav"
    assert third.facts["warnings"] == [
        "decoded with PyAV: the decord process crashed or hung twice"
    ]


def test_a_video_too_large_for_a_record_says_what_makes_it_smaller(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 1000)
    message = r"30 frames of 48x64 take \d+ bytes; .*; decode\.short_side, .* make it smaller"
    with pytest.raises(isolate.Refused, match=message):
        decode.store_one(tree / "UCF-101", OPTIONS, tree, "Grow/a.mp4", 0)


def test_deadline_grows_with_the_file(tree: Path) -> None:
    seconds = decode.seconds_for(tree / "UCF-101", "Turn/text.mp4")
    assert seconds == decode.DEADLINE + 6000 / decode.BYTES_PER_SECOND


# ------------------------------------------------------------------ one file


def raw_frames(path: Path, backend: str, short_side: int) -> tuple[video.Decoded, NDArray[Any]]:
    decoded = video.decode(path, backend, short_side, records.encoder("raw", 1))
    shape = (-1, decoded.height, decoded.width, 3)
    return decoded, np.frombuffer(b"".join(decoded.frames), np.uint8).reshape(shape)


@given(
    height=st.integers(2, 2000),
    width=st.integers(2, 2000),
    short=st.integers(8, 540).map(lambda n: 2 * n),
)
def test_target_size(height: int, width: int, short: int) -> None:
    new = video.target_size(height, width, short)
    assert all(side % 2 == 0 and side >= 2 for side in new)
    if min(height, width) <= short:
        assert new == (height - height % 2, width - width % 2)
    else:
        assert min(new) == short
        scale = short / min(height, width)
        assert max(new) == pytest.approx(max(height, width) * scale, abs=1)


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize("name", ["shrunk.mp4", "shrunk.avi"])
def test_frames_are_shrunk_and_in_order(tmp_path: Path, backend: str, name: str) -> None:
    write_video(tmp_path / name, 25, size=(96, 160))
    decoded, frames = raw_frames(tmp_path / name, backend, 32)
    assert (decoded.source_height, decoded.source_width) == (96, 160)
    assert frames.shape == (25, 32, 54, 3)
    expected = scene(25, 32, 54).astype(float)
    columns = [5, 48]  # away from the edge in the middle
    assert np.abs(frames[:, 16, columns] - expected[:, 16, columns]).max() < 12
    assert decoded.decoder == backend


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_small_frames_are_never_enlarged(tmp_path: Path, backend: str) -> None:
    write_video(tmp_path / "small.mp4", 9, size=(34, 50))
    assert raw_frames(tmp_path / "small.mp4", backend, 128)[1].shape == (9, 34, 50, 3)


def test_ten_bits_go_to_pyav(tmp_path: Path) -> None:
    write_video(tmp_path / "deep.mp4", 9, pix_fmt="yuv420p10le")
    decoded, frames = raw_frames(tmp_path / "deep.mp4", "decord", 48)
    assert decoded.decoder == "pyav"
    assert decoded.warnings == ["decoded with PyAV: more than 8 bits per channel (yuv420p10le)"]
    np.testing.assert_array_equal(frames, reference(tmp_path / "deep.mp4"))


def test_what_decord_would_buffer_goes_to_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "long.mp4", 40)
    monkeypatch.setattr(video, "READ_AHEAD_BYTES", 40 * 48 * 64 * 3 - 1)
    assert raw_frames(tmp_path / "long.mp4", "decord", 48)[0].decoder == "pyav"
    monkeypatch.setattr(video, "READ_AHEAD_BYTES", 40 * 48 * 64 * 3)
    assert raw_frames(tmp_path / "long.mp4", "decord", 48)[0].decoder == "decord"


def test_corrupt_packet_costs_its_frames_only(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    write_video(path, 60, g="1")
    with av.open(str(path)) as container:
        position = [packet.pos for packet in container.demux(video=0) if packet.size][30]
    content = bytearray(path.read_bytes())
    content[position : position + 4] = b"\xff\xff\xff\xff"  # a unit longer than its packet
    path.write_bytes(content)
    decoded, frames = raw_frames(path, "decord", 48)
    assert decoded.decoder == "pyav"
    assert decoded.warnings[:2] == [
        "decoded with PyAV: decord cannot decode all frames",
        "1 of 60 packets are corrupt",
    ]
    assert len(frames) == 59
    assert np.abs(frames[30:, 24, 60] - scene(60, 48, 64)[31:, 24, 60].astype(int)).max() < 8


def test_mostly_corrupt_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    write_video(path, 40, g="1")
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position in positions[10:20]:
        content[position : position + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(video.Unreadable, match=r"^10 of 40 packets are corrupt$"):
        raw_frames(path, "pyav", 48)


def test_truncated_avi_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cut.avi"
    write_video(path, 40)
    with av.open(str(path)) as container:
        position = [packet.pos for packet in container.demux(video=0) if packet.size][25]
    path.write_bytes(path.read_bytes()[:position])
    decoded, frames = raw_frames(path, "decord", 48)
    assert len(frames) == 25
    assert "25 frames decoded, the header says 40" in decoded.warnings


def test_unknown_codec(tmp_path: Path) -> None:
    path = tmp_path / "unknown.mp4"
    write_video(path, 9)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(video.Unreadable, match=r"^no decoder for its codec$"):
        raw_frames(path, "pyav", 48)


def test_audio_has_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(video.Unreadable, match=r"^no video stream$"):
        raw_frames(path, "pyav", 48)


# ------------------------------------------------------------------ real clips


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Backend -> manifest of all real clips."""
    if REAL is None:
        pytest.skip("shared/videos is not here")
    names = sorted(path.name for path in REAL.iterdir() if path.suffix != ".md")
    entries = [Entry(name, 0, {"1": "train"}) for name in names]
    adapter = types.SimpleNamespace(read=partial(Index, ["a"], entries=entries))
    folder = tmp_path_factory.mktemp("real")
    return {
        backend: decode_dataset(
            REAL, folder / backend, threads=2, adapter=adapter, backend=backend, min_frames=3
        )
        for backend in ("decord", "pyav")
    }


def test_real_clips_have_the_frames_they_are_known_to_have(real: dict[str, dict[str, Any]]) -> None:
    assert REAL is not None
    rows = [line.split("|") for line in (REAL / "README.md").read_text().splitlines()]
    known = {
        row[1].strip(): int(row[6]) for row in rows if len(row) > 6 and row[6].strip().isdigit()
    }
    assert len(known) == 18
    # The table stops at its first corrupt packet; we go on behind it.
    assert known.pop("decord_corrupted.mp4") == 28
    for manifest in real.values():
        found = {v["name"]: v["frames"] for v in manifest["videos"]}
        assert manifest["rejects"] == []
        assert found.pop("decord_corrupted.mp4") == 49
        assert found == known
