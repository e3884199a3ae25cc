"""The page shows the clips that each row was given, by their names."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import fake_clips
from support.fake_study import FakeStudy, run
from videossl.job import UserError
from videossl.report import clips


def section(study: FakeStudy, out: Path) -> tuple[str, str]:
    """The whole page, and its part about clips."""
    page = (run(study, out) / "report.html").read_text().replace("<wbr>", "")
    return page, page.partition('<h2 id="clips">')[2].partition("</section>")[0]


def picture(page: str, strip: str) -> tuple[np.ndarray, int]:
    """A strip's pixels, RGB, and how many frames the style sheet plays."""
    ((data, frames),) = re.findall(
        rf"\.{strip} {{ background-image: url\(data:image/webp;base64,(.+?)\); --frames: (\d+); }}",
        page,
    )
    found = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found[:, :, ::-1].astype(int), int(frames)


def test_clips_are_shown_by_row_name_and_video(study, tmp_path):
    fake_clips.keep(study, "rspnet")
    fake_clips.keep(study, "rho_moco", videos=2)
    page, found = section(study, tmp_path / "out")
    assert re.findall(r"<h3>(.+?)</h3>", found) == ["RSPNet", "ρMoCo"]
    for part, videos in zip(found.split("<h3>")[1:], (4, 2), strict=True):
        lines = re.findall(r'<tr><th scope="row">(.+?)</th>(.+?)</tr>', part)
        assert [name for name, _ in lines] == ["query", "&lt;i&gt;key&lt;/i&gt;"]
        assert part.count('<th scope="col"><small>v&#34;') == videos
        for clip, (name, cells) in enumerate(lines):
            shown = re.findall(r'class="strip (clip-\d+)" role="img" aria-label="(.+?)"', cells)
            assert [about for _, about in shown] == [f"{name} of v&#34;{v}" for v in range(videos)]
            for video, (strip, _) in enumerate(shown):
                pixels, frames = picture(page, strip)
                assert frames == 4
                assert pixels.shape == (48, 4 * 48, 3)
                wanted = [fake_clips.level(clip, video, frame) for frame in range(4)]
                assert np.abs(pixels[24, 24::48] - wanted).max() < 12


def test_the_first_seed_is_shown(tmp_path):
    root = tmp_path / "study"
    root.mkdir()
    study = FakeStudy(root, seeds=(10, 9)).fill()
    fake_clips.keep(study, "rspnet", 10, videos=1)
    fake_clips.keep(study, "rspnet", 9, videos=3)
    _, found = section(study, tmp_path / "out")
    assert "seed 9" in found
    assert len(re.findall(r"clip-\d+", found)) == 2 * 3


def test_baselines_and_rows_that_are_not_trained_yet_have_none(study, tmp_path):
    fake_clips.keep(study, "rspnet")
    _, found = section(study, tmp_path / "out")
    assert "scratch" not in found
    assert "ρMoCo" not in found


def test_before_anything_is_trained_there_is_no_switch(empty_study, tmp_path):
    _, found = section(empty_study, tmp_path / "out")
    assert "No row is pretrained yet." in found
    assert "Play the videos" not in found


def test_a_page_does_not_grow_without_end(study, tmp_path, monkeypatch):
    fake_clips.keep(study, "rspnet")
    fake_clips.keep(study, "rho_moco", videos=1)
    monkeypatch.setattr(clips, "MOST_BYTES", 600)
    _, found = section(study, tmp_path / "out")
    assert "RSPNet: left out" in found
    assert re.findall(r"<h3>(.+?)</h3>", found) == ["ρMoCo"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip1": None}, "batch.npz: cannot be read: .*clip1"),
        ({"clip1": np.zeros((4, 4, 16, 16, 1), np.uint8)}, "<i>key</i>: found uint8 of shape"),
        ({"clip0": np.zeros((4, 4, 16, 16, 3), np.float32)}, "query: found float32 of shape"),
        ({"clip0": np.zeros((3, 4, 16, 16, 3), np.uint8)}, "must be uint8 of shape .4, frames"),
    ],
)
def test_damaged_clips_are_one_line(study, tmp_path, changes, said):
    fake_clips.keep(study, "rspnet", **changes)
    with pytest.raises(UserError, match=said):
        run(study, tmp_path / "out")


def test_a_file_that_is_none_is_one_line(study, tmp_path):
    fake_clips.keep(study, "rspnet").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match=r"batch.npz: cannot be read"):
        run(study, tmp_path / "out")
