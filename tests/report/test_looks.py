"""The page shows over each clip which places the prediction needed."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import fake_looks
from support.fake_study import FakeStudy, run
from videossl.job import UserError
from videossl.report import looks


@pytest.fixture
def looked(study: FakeStudy) -> FakeStudy:
    fake_looks.classes(study)
    for row in ("scratch", "rspnet"):
        fake_looks.look(study, row)
    return study


def section(study: FakeStudy, out: Path) -> tuple[str, str]:
    """The whole page, and its part about maps."""
    page = (run(study, out) / "report.html").read_text().replace("<wbr>", "")
    return page, page.partition('<h2 id="looks">')[2].partition("</section>")[0]


def picture(page: str, strip: str) -> np.ndarray:
    """A strip's pixels, RGB."""
    (data,) = re.findall(
        rf"\.{strip} {{ background-image: url\(data:image/webp;base64,(.+?)\)", page
    )
    found = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found[:, :, ::-1].astype(int)


def test_rows_show_what_was_predicted_and_where(looked, tmp_path):
    page, found = section(looked, tmp_path / "out")
    assert "Fine-tuned recognition: synthetic" in found
    (head,) = re.findall(r"<thead>(.+?)</thead>", found, re.DOTALL)
    names = [name.replace("<", "&lt;").replace(">", "&gt;") for name in fake_looks.CLASSES]
    assert re.findall(r"<small>(.+?)</small>", head) == [names[k] for k in fake_looks.LABELS]
    lines = re.findall(r'<tr><th scope="row">(.+?)</th>(.+?)</tr>', found)
    assert [row for row, _ in lines] == ["scratch", "RSPNet"]
    for row, cells in lines:
        said = re.findall(r'<span class="unseen">(\w+):</span> (.+?)</small>', cells)
        assert said == [
            ("right", f"{names[0]} 91&nbsp;%, −50"),
            ("right", f"{names[1]} 60&nbsp;%, −25"),
            ("wrong", f"{names[0]} 50&nbsp;%, −0"),
        ]
        assert f'aria-label="Where {row} looks: hiding a square costs up to 50 points"' in cells
    strips = re.findall(r'class="strip (look-\d+)"', found)
    assert len(strips) == len(set(strips)) == 3 + 2 * 3
    plain, *_ = (picture(page, strip) for strip in strips)
    assert plain.shape == (48, 4 * 48, 3)
    assert np.abs(plain - 200).max() < 8
    first, second, third = (picture(page, strip) for strip in strips[3:6])
    corner, middle = first[3, 3::48], first[24, 24::48]
    assert (corner[:, 0] - corner[:, 2] > 100).all()  # orange in every frame
    assert np.abs(middle - 120).max() < 8  # pale grey
    assert (second[45, 45::48, 0] - second[45, 45::48, 2] > 100).all()
    assert np.abs(third - 120).max() < 8  # no square costs anything


def test_heat_is_the_mean_of_the_squares_over_a_pixel():
    drops = np.zeros((2, 2), np.float32)
    drops[0, 0], drops[0, 1], drops[1, 1] = 1.0, 0.5, -1.0
    heat = looks.heat(drops, 0.75, 4)  # squares of 3 at 0 and 1
    assert heat.tolist() == [
        [1.0, 0.75, 0.75, 0.5],
        [0.5, 0.125, 0.125, -0.25],
        [0.5, 0.125, 0.125, -0.25],
        [0.0, -0.5, -0.5, -1.0],
    ]


def test_the_first_seed_is_shown(tmp_path):
    root = tmp_path / "study"
    root.mkdir()
    study = FakeStudy(root, seeds=(10, 9)).fill()
    fake_looks.classes(study)
    fake_looks.look(study, "rspnet", 10, predicted=np.array([1, 1, 1]))
    fake_looks.look(study, "rspnet", 9)
    _, found = section(study, tmp_path / "out")
    assert "seed 9, split 1" in found
    assert "Red 91&nbsp;%" in found


def test_without_maps_there_is_one_line(study, tmp_path):
    _, found = section(study, tmp_path / "out")
    assert "No fine-tuned network has told classes of clips yet." in found
    assert "Play the videos" not in found


def test_a_page_does_not_grow_without_end(looked, tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "MOST_BYTES", 300)
    page, found = section(looked, tmp_path / "out")
    assert "Fine-tuned recognition: synthetic: left out" in found
    assert "data:image/webp" not in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"examples": np.array([2, 5, 8])}, "rspnet: synthetic has other test videos"),
        ({"drops": None}, "occlusion.npz: cannot be read: .*drops"),
        ({"drops": np.zeros((2, 8, 8), np.float32)}, "occlusion.npz: damaged"),
        ({"drops": np.full((3, 8, 8), np.nan, np.float32)}, "occlusion.npz: damaged"),
        ({"clips": np.zeros((3, 4, 16, 16, 3), np.float32)}, "occlusion.npz: damaged"),
    ],
)
def test_damaged_maps_are_one_line(looked, tmp_path, changes, said):
    fake_looks.look(looked, "rspnet", **changes)
    with pytest.raises(UserError, match=said):
        run(looked, tmp_path / "out")
