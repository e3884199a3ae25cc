"""Two hundred good, odd, damaged and hostile files through the children of ``decode``."""

import os
import re
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.movies import OPTIONS, decode_dataset, reference
from support.odd_files import FRAMES, Odd, huge_vp8, numbers, write, write_video
from videossl.data.datasets import folder
from videossl.data.datasets.index import Entry, Index
from videossl.data.decoding import decode, isolate
from videossl.data.decoding.decode import Stored
from videossl.data.shards import records
from videossl.data.shards.store import ClipStore
from videossl.study.schema import Decode

pytestmark = pytest.mark.slow

RAW = {
    name: OPTIONS.model_copy(update={"codec": "raw", "backend": name})
    for name in ("decord", "pyav")
}
SECONDS = 30.0  # far more than any file here takes, far less than forever
BACKENDS = pytest.mark.parametrize("backend", sorted(RAW))
Result = Stored | isolate.Failure


def store_all(root: Path, files: list[Odd], options: Decode, children: int) -> dict[str, Result]:
    names = [odd.name for odd in files]
    store = partial(decode.store_one, root, options, root)
    found = isolate.ordered(store, names, children=children, deadline=lambda name: SECONDS)
    return dict(zip(names, found, strict=True))


def frames_of(stored: Stored) -> NDArray[np.uint8]:
    """The frames in a raw record, (T, H, W, 3)."""
    record, facts = stored.record, stored.facts
    size = records.table_bytes(facts["frames"])
    table = records.unpack_table(record[:size], record[: records.HEADER.size], len(record))
    shape = (facts["frames"], facts["height"], facts["width"], 3)
    return np.frombuffer(record, np.uint8, offset=int(table.offsets[0])).reshape(shape)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in the layout ``folder``; the odd files are one class of its training part."""
    root: Path = tmp_path_factory.mktemp("tree")
    write_video(root / "test" / "odd" / "plain.mp4")
    (root / "train").mkdir()
    return root


@pytest.fixture(scope="module")
def files(tree: Path) -> list[Odd]:
    return write(tree / "train" / "odd")


@pytest.fixture(scope="module")
def results(tree: Path, files: list[Odd]) -> dict[str, dict[str, Result]]:
    """Backend -> name -> result, with two children."""
    root = tree / "train" / "odd"
    return {backend: store_all(root, files, options, 2) for backend, options in RAW.items()}


# ------------------------------------------------------------------ what becomes of each file


def test_there_are_enough_of_many_kinds(files: list[Odd]) -> None:
    assert len({odd.name for odd in files}) == len(files) >= 200
    assert len({odd.kind for odd in files}) >= 14
    assert min(Counter(odd.fate for odd in files).values()) >= 50


@BACKENDS
def test_good_files_are_stored_whole_and_in_order(
    files: list[Odd], results: dict[str, dict[str, Result]], backend: str
) -> None:
    harmless = ("decoded with PyAV: ", "the frame size changes")
    for odd in files:
        if odd.fate == "whole":
            stored = results[backend][odd.name]
            assert isinstance(stored, Stored), (odd.name, stored)
            twice = 2 if odd.name == "size_changes/both.ts" else 1
            expected = [*range(odd.frames // twice)] * twice
            assert numbers(frames_of(stored)).tolist() == expected, odd.name
            assert all(text.startswith(harmless) for text in stored.facts["warnings"]), odd.name


def test_pixels_of_good_files_are_those_of_a_plain_read(
    tree: Path, files: list[Odd], results: dict[str, dict[str, Result]]
) -> None:
    compared = 0
    for odd in files:
        pyav, decord = (results[backend][odd.name] for backend in ("pyav", "decord"))
        if odd.fate != "whole" or odd.kind not in ("base", "b_frames", "pixels", "rate", "streams"):
            continue
        assert isinstance(pyav, Stored)
        assert isinstance(decord, Stored)
        plain = reference(tree / "train" / "odd" / odd.name)
        np.testing.assert_array_equal(frames_of(pyav), plain, err_msg=odd.name)
        # The same frames; the FFmpeg in decord rounds differently on the way to RGB.
        assert np.abs(frames_of(decord).astype(int) - plain).max() <= 6, odd.name
        compared += 1
    assert compared > 25


def test_turned_files_stand_upright(results: dict[str, dict[str, Result]]) -> None:
    for found in results.values():
        upright, *turned = (
            found[name] for name in ("base/plain.mp4", "rotated/90.mp4", "rotated/180.mp4")
        )
        assert isinstance(upright, Stored)
        for turns, stored in enumerate(turned, 1):
            assert isinstance(stored, Stored)
            expected = np.rot90(frames_of(upright).astype(int), -turns, axes=(1, 2))
            assert np.abs(frames_of(stored) - expected).max() <= 6


@BACKENDS
def test_hopeless_files_are_rejected_with_their_reason(
    files: list[Odd], results: dict[str, dict[str, Result]], backend: str
) -> None:
    wrong = []
    for odd in files:
        result = results[backend][odd.name]
        if odd.fate == "none" and not (
            isinstance(result, isolate.Failure) and re.search(odd.reason, result.reason)
        ):
            wrong.append((odd.name, odd.reason, result))
    assert wrong == []


@BACKENDS
def test_damaged_files_never_grow_and_what_lacks_frames_says_so(
    files: list[Odd], results: dict[str, dict[str, Result]], backend: str
) -> None:
    fates = Counter()
    for odd in files:
        result = results[backend][odd.name]
        if odd.fate != "part":
            continue
        if isinstance(result, isolate.Failure):
            fates[odd.kind, "rejected"] += 1
            continue
        count = result.facts["frames"]
        assert 8 <= count <= odd.frames, odd.name
        assert count == odd.frames or result.facts["warnings"], odd.name
        fates[odd.kind, "warned" if result.facts["warnings"] else "silent"] += 1
        if odd.kind == "cut":  # all but the frame that the cut went through are the right ones
            assert numbers(frames_of(result))[:-1].tolist() == list(range(count - 1)), odd.name
    print(backend, dict(fates))
    assert {kind for kind, _ in fates} >= {"cut", "flipped", "beheaded", "hole"}
    assert fates["cut", "warned"] > 10
    assert fates["cut", "rejected"] > 10
    assert fates["flipped", "rejected"] > 5


def test_pyav_warns_of_most_wrong_pixels(
    files: list[Odd], results: dict[str, dict[str, Result]]
) -> None:
    """Most, because some wrong bits make a stream that is well formed."""
    warned = []
    for odd in files:
        result = results["pyav"][odd.name]
        if odd.kind == "flipped" and isinstance(result, Stored):
            base = results["pyav"][f"base/{odd.name.split('-')[1]}"]
            assert isinstance(base, Stored)
            if result.record != base.record:
                warned.append(bool(result.facts["warnings"]))
    assert len(warned) > 20
    assert np.mean(warned) > 0.9


def test_no_reason_names_a_folder_or_takes_two_lines(
    results: dict[str, dict[str, Result]],
) -> None:
    for found in results.values():
        for result in found.values():
            texts = result.facts["warnings"] if isinstance(result, Stored) else [result.reason]
            for text in texts:
                assert text == " ".join(text.split())
                assert text
                assert "/" not in text


def test_one_child_finds_the_same(
    tree: Path, files: list[Odd], results: dict[str, dict[str, Result]]
) -> None:
    alone = store_all(tree / "train" / "odd", files, RAW["decord"], 1)
    assert [name for name in alone if alone[name] != results["decord"][name]] == []


def test_reading_needs_permission(tmp_path: Path) -> None:
    (path := tmp_path / "denied.mp4").touch(0)
    if os.access(path, os.R_OK):  # the superuser may read everything: again, without that right
        assert "WITHOUT_RIGHTS" not in os.environ
        rights = "-dac_override,-dac_read_search"
        name = f"{__file__}::{test_reading_needs_permission.__name__}"
        command = ["setpriv", "--bounding-set", rights, sys.executable, "-m", "pytest", "-q", name]
        again = subprocess.run(
            [*command, "--basetemp", str(tmp_path / "again")],
            env={**os.environ, "WITHOUT_RIGHTS": "1"},
            capture_output=True,
            text=True,
        )
        assert "1 passed" in again.stdout, again.stdout + again.stderr
        return
    (result,) = store_all(tmp_path, [Odd(path.name, "none")], RAW["pyav"], 1).values()
    assert result == isolate.Failure("not readable: permission denied")


# ------------------------------------------------------------------ the whole stage


def test_the_stage_over_a_folder(tree: Path, files: list[Odd], tmp_path: Path) -> None:
    manifest = decode_dataset(tree, tmp_path / "out", threads=2, adapter=folder)
    stored = {facts["name"]: facts for facts in manifest["videos"]}
    reasons = {facts["name"]: facts["reason"] for facts in manifest["rejects"]}
    fates = {f"train/odd/{odd.name}": odd for odd in files}
    for name, facts in stored.items():
        if name in fates:
            assert fates[name].fate != "none", name
            assert facts["frames"] <= fates[name].frames
    for name, reason in reasons.items():
        odd = fates.get(name, Odd("links/folder", "none", reason="^a folder$"))
        assert odd.fate != "whole", (name, reason)
        assert re.search(odd.reason, reason), (name, reason)
    # The stage was given what the adapter lists: all but names that lead to nothing in the tree.
    missed = {name for name, odd in fates.items() if odd.fate == "whole"} - set(stored)
    assert missed == {"train/odd/links/folder/plain.avi"}
    assert len(stored) + len(reasons) > 200
    assert str(tree) not in (tmp_path / "out" / "manifest.json").read_text()
    with_surrogates = next(name for name in stored if "\udcff" in name)
    store = ClipStore(tmp_path / "out")
    (number,) = (n for n, one in enumerate(store.videos) if one.name == with_surrogates)
    assert numbers(store.clip(number, range(FRAMES))).tolist() == list(range(FRAMES))


def test_the_stage_over_names_that_a_list_may_hold(
    tree: Path, files: list[Odd], results: dict[str, dict[str, Result]], tmp_path: Path
) -> None:
    """A list may name anything: paths out of the folder, what is not there, what is too long."""
    kinds = ("", "..", "missing", "names", "base", "special", "links")
    some = [odd for odd in files if odd.kind in kinds]
    entries = [Entry(odd.name, 0, {"1": "train"}) for odd in some]
    index = Index(["odd"], tree / "train" / "odd", entries)
    adapter = types.SimpleNamespace(read=lambda root: index)
    manifest = decode_dataset(tree, tmp_path / "out", threads=2, adapter=adapter)
    assert {facts["name"] for facts in manifest["videos"]} == {
        odd.name for odd in some if odd.fate == "whole"
    }
    for facts in manifest["rejects"]:
        expected = results["decord"][facts["name"]]
        assert isinstance(expected, isolate.Failure)
        assert facts["reason"] == expected.reason


# ------------------------------------------------------------------ children that go wrong


def troubled(root: Path, options: Decode, name: str, attempt: int) -> Stored:
    """``store_one`` for a decoder that goes wrong on some names; runs in a child."""
    trouble = Path(name).stem
    if attempt < {"crashes": 3, "crashes_once": 1, "crashes_decord": 2}.get(trouble, 0):
        os.kill(os.getpid(), signal.SIGSEGV)
    seen = root / f"{name}.seen"
    if trouble == "killed" or (trouble == "killed_once" and not seen.exists()):
        assert attempt == 0  # the decoder is the one that was asked for, both times
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "hangs":
        time.sleep(10 * SECONDS)
    if trouble == "hungry":
        bytearray(1 << 36)
    if trouble == "exits":
        os._exit(0)
    if trouble == "raises":
        raise RuntimeError(f"cannot\n  read {name}")
    return decode.store_one(root, options, root, name, attempt)


TROUBLES = {
    "crashes": "crashed (SIGSEGV)",
    "hangs": "no progress within 3 s",
    "hungry": "out of memory (limit 4096 MiB)",
    "exits": "crashed (exit status 0)",
    "killed": "killed 2 times from outside (SIGKILL); was memory short?",
    "raises": "RuntimeError: cannot read raises.mp4",
}


@pytest.mark.parametrize("children", [1, 2])
def test_trouble_costs_the_videos_it_befalls(tmp_path: Path, children: int) -> None:
    content = write_video(tmp_path / "a0.mp4").read_bytes()
    names = [f"a{number}.mp4" for number in range(12)]
    for number, trouble in enumerate([*TROUBLES, "crashes_once", "crashes_decord", "killed_once"]):
        names.insert(2 * number + 1, f"{trouble}.mp4")
    for name in names:
        (tmp_path / name).write_bytes(content)
    found = isolate.ordered(
        partial(troubled, tmp_path, RAW["decord"]),
        names,
        children=children,
        deadline=lambda name: 3.0 if name == "hangs.mp4" else SECONDS,
        attempts=decode.ATTEMPTS,
    )
    for name, result in zip(names, found, strict=True):
        trouble = Path(name).stem
        if trouble in TROUBLES:
            assert result == isolate.Failure(TROUBLES[trouble])
        else:
            assert isinstance(result, Stored)
            assert numbers(frames_of(result)).tolist() == list(range(FRAMES))
            again = ["decoded with PyAV: the decord process crashed or hung twice"]
            assert result.facts["warnings"] == (again if trouble == "crashes_decord" else [])


def test_a_video_larger_than_memory_costs_itself(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    write_video(tmp_path / "b.webm", codec="libvpx")
    (tmp_path / "huge.webm").write_bytes(huge_vp8((tmp_path / "b.webm").read_bytes(), 16_000))
    options = RAW["pyav"].model_copy(update={"short_side": 256})
    names = ["a.mp4", "huge.webm", "b.webm"]
    first, huge, last = isolate.ordered(
        partial(decode.store_one, tmp_path, options, tmp_path),
        names,
        children=1,
        deadline=lambda name: SECONDS,
        memory=isolate.GIB,
    )
    assert isinstance(first, Stored)
    assert huge == isolate.Failure("out of memory (limit 1024 MiB)")
    assert isinstance(last, Stored)
