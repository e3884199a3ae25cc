"""Checking stored shards and looking at them."""

import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from support.movies import decode_dataset, reference, write_video
from videossl.data.datasets.index import Entry, Index
from videossl.data.shards import inspection
from videossl.data.shards.store import ClipStore
from videossl.job import UserError


class Adapter:
    """Lists what is there."""

    @staticmethod
    def read(root: Path) -> Index:
        names = sorted(path.name for path in root.iterdir())
        return Index(["Grow"], root, [Entry(name, 0, {"1": "train"}) for name in names])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for name, frames in (("a.mp4", 30), ("b.mp4", 21)):
        write_video(tmp_path / "videos" / name, frames)
    (tmp_path / "videos" / "bad.mp4").write_text("not a video")
    decode_dataset(
        tmp_path / "videos", tmp_path / "out", adapter=Adapter, codec="raw", backend="pyav"
    )
    return tmp_path / "out"


def test_whole(stored: Path) -> None:
    assert inspection.verify(stored).endswith(
        "whole: 1 shards, 2 videos, 51 frames, 1 rejected videos"
    )


def test_damage_is_listed_place_by_place(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ClipStore(stored)
    place = store._places[1]
    path = stored / "shard-00000.lmdb"
    size = path.stat().st_size
    with path.open("r+b") as file:
        for frame in (3, 7, 8):
            file.seek(place.offset + 500 + frame * 48 * 64 * 3)
            file.write(b"\x01\x02\x03\x04")
    with pytest.raises(UserError) as error:
        inspection.verify(stored)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("shard-00000.lmdb: SHA-256 is not the manifest's")
    assert [line.split("lmdb: ")[1].split(";")[0] for line in lines[1:]] == [
        f"damaged at b.mp4, frame {frame}: checksum mismatch" for frame in (3, 7, 8)
    ]
    monkeypatch.setattr(inspection, "SHOWN", 2)
    with pytest.raises(UserError, match="2 more damaged places"):
        inspection.verify(stored)
    os.truncate(path, size // 2)
    with pytest.raises(UserError, match=f"found {size // 2} bytes, expected {size}"):
        inspection.verify(stored)


def test_list(stored: Path) -> None:
    lines = inspection.listing(stored).splitlines()
    assert lines[0] == "a.mp4  30 frames  64x48  29.97 fps  Grow"
    assert lines[2].startswith("bad.mp4  rejected: ")


def test_contact_sheet_shows_the_frames_in_order(stored: Path, tmp_path: Path) -> None:
    text = inspection.show(stored, "a.mp4", tmp_path / "sheet.png")
    indices = [int(n) for n in text.split("frames ")[1].split(" of")[0].split(", ")]
    assert len(indices) == 16
    assert (indices[0], indices[-1]) == (0, 29)
    sheet = np.round(image.imread(tmp_path / "sheet.png")[..., :3] * 255).astype(np.uint8)
    frames = reference(tmp_path / "videos" / "a.mp4")
    for position, index in enumerate(indices):
        row, column = divmod(position, 4)
        tile = sheet[row * 48 : (row + 1) * 48, column * 64 : (column + 1) * 64]
        np.testing.assert_array_equal(tile, frames[index])


def test_no_such_video(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bad\.mp4: rejected: "):
        inspection.show(stored, "bad.mp4", tmp_path / "sheet.png")
    with pytest.raises(UserError, match=r"c\.mp4: not among its 2 videos"):
        inspection.show(stored, "c.mp4", tmp_path / "sheet.png")
