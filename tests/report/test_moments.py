"""Boxes and gaze are drawn on the frames that they are about, each row's beside the truth."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import fake_gallery, fake_moments
from support.fake_study import FakeStudy, run
from videossl.job import UserError
from videossl.report import moments

TALK = "&lt;b&gt;talk&lt;/b&gt;"
Cell = tuple[np.ndarray, str, list[str]]


def section(study: FakeStudy, out: Path) -> tuple[str, str]:
    """The whole page, and its part about frames."""
    page = (run(study, out) / "report.html").read_text()
    return page, page.partition('<h2 id="moments">')[2].partition("</section>")[0]


def lines(found: str) -> dict[str, list[Cell]]:
    """Row -> of each frame its pixels, its other text and the lines below."""
    table = {}
    for row, cells in re.findall(r'<tr><th scope="row">(.+?)</th>(.+?)</tr>', found):
        table[row] = []
        for cell in cells.split("<td>")[1:]:
            ((data, about),) = re.findall(r'base64,(.+?)" width="144".*? alt="(.+?)">', cell)
            raw = np.frombuffer(base64.b64decode(data), np.uint8)
            picture = cv2.imdecode(raw, cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (96, 144, 3)  # of frames of 40 x 60
            said = re.findall(r"<small>(.+?)</small>", cell)
            table[row].append((picture[:, :, ::-1].astype(int), about, said))
    return table


def test_boxes_are_drawn_with_their_classes(tmp_path):
    _, found = section(fake_moments.study(tmp_path / "study", "detection"), tmp_path / "out")
    table = lines(found)
    assert list(table) == ["Truth", "scratch", "RSPNet"]
    said = {row: [cell[2] for cell in cells] for row, cells in table.items()}
    assert said["Truth"] == [["1: sit", f"2: stand, {TALK}"]] * 3 + [["no box"]]
    assert said["scratch"] == [["1: sit 65 %", "2: stand 90 %"]] * 3 + [["no box"]]
    assert said["RSPNet"] == [["1: stand 65 %", f"2: {TALK} 90 %"]] * 3 + [["no box"]]
    assert table["Truth"][1][1] == f"Frame 2, Truth: 1: sit; 2: stand, {TALK}"
    for cells in table.values():
        for (picture, _, _), video in zip(cells, fake_moments.PICKED, strict=True):
            plain = cv2.resize(fake_gallery.pixels(video)[video], (144, 96)).astype(int)
            changed = np.abs(picture - plain).max(axis=-1) > 60
            rows, columns = (changed[:, 20:120].any(axis=1), changed.any(axis=0))
            if video == fake_moments.PICKED[-1]:
                assert not changed.any()
                continue
            edges = [14, 57, 86, 128]  # of 144 pixels across, and of 96 down
            assert [columns[x - 1 : x + 2].any() for x in edges] == [True] * 4
            assert [rows[y - 1 : y + 2].any() for y in (24, 71)] == [True] * 2
            assert not rows[:20].any()
            assert not rows[75:].any()
            assert not columns[60:83].any()


def test_of_many_boxes_the_surest_are_drawn_from_left_to_right():
    frame = np.zeros((96, 144, 3), np.uint8)
    left = np.array([0.5, 0.1, 0.3, 0.7, 0.2, 0.6])
    places = np.stack([left, left * 0, left + 0.1, left * 0 + 0.5], axis=1)[None]
    ranges = np.array([[0, 0], [0, 6]])
    sure = np.array([0.2, 0.9, 0.1, 0.8, 0.7, 0.6])
    scores = np.stack([sure, sure / 2], axis=1)[None]
    labels = np.ones((1, 6, 2), bool)
    stored = [places, ranges, scores, places, ranges, labels]
    picture, said = moments.found_boxes(frame, stored, 1, ["run", "walk"])
    assert said == ["1: run 90 %", "2: run 70 %", "3: run 60 %", "4: run 80 %"]
    assert not picture[:, 60:80].any()  # the box from 0.5 on and the one from 0.3 on are not sure
    _, said = moments.true_boxes(frame, stored, 1, ["run", "walk"])
    assert said == [*(f"{number}: run, walk" for number in (1, 2, 3, 4)), "2 more"]
    assert moments.true_boxes(frame, stored, 0, ["run", "walk"])[1] == ["no box"]


def test_gaze_is_a_map_with_the_true_points(tmp_path):
    _, found = section(fake_moments.study(tmp_path / "study", "saliency"), tmp_path / "out")
    table = lines(found)
    assert [cell[2] for cell in table["Truth"]] == [["1 point"]] * 4
    warm = {
        row: [cell[0][..., 0] - cell[0][..., 2] for cell in cells] for row, cells in table.items()
    }
    for place in range(4):
        at = np.s_[74:82, 113:121], np.s_[15:22, 23:31]  # lower right, upper left
        assert warm["scratch"][place][at[0]].mean() > 80 > warm["scratch"][place][at[1]].mean()
        assert warm["RSPNet"][place][at[1]].mean() > 80 > warm["RSPNet"][place][at[0]].mean()
    ring = table["scratch"][0][0]  # around a quarter of both sides
    assert np.abs(ring[24, 40] - ring[40, 60]).max() > 60
    assert np.abs(ring[70, 40] - ring[40, 60]).max() < 16


def test_the_first_seed_and_split_are_shown(tmp_path):
    made = fake_moments.study(tmp_path / "study", "detection")
    for seed, split in ((0, 2), (1, 1)):
        for row in fake_moments.ROWS:
            folder = made.evaluation(
                row, "detection", {"frame_mAP": 0.5}, seed=seed, split=split, n=fake_moments.COUNT
            )
            other = {"examples": np.arange(fake_moments.COUNT)} | fake_moments.boxes(2)
            np.savez(folder / "predictions.npz", **other)
    _, found = section(made, tmp_path / "out")
    assert "Seed 0, split 1." in " ".join(found.split())
    assert lines(found)["scratch"][0][2] == ["1: sit 65 %", "2: stand 90 %"]


def test_without_such_tests_there_is_no_part(study, tmp_path):
    page, found = section(study, tmp_path / "out")
    assert found == ""
    assert "#moments" not in page


def test_a_page_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(moments, "MOST_BYTES", 300)
    made = fake_moments.study(tmp_path / "study", "saliency")
    page, found = section(made, tmp_path / "out")
    assert re.search(r'class="none">.*: synthetic: left out', found)
    assert "<img" not in page


def test_other_examples_are_one_line(tmp_path):
    made = fake_moments.study(tmp_path / "study", "saliency")
    (path,) = made.root.glob("test/rspnet/**/predictions.npz")
    stored = dict(np.load(path))
    np.savez(path, **(stored | {"examples": stored["examples"][::-1]}))
    with pytest.raises(UserError, match="rspnet: synthetic has other test examples"):
        run(made, tmp_path / "out")
