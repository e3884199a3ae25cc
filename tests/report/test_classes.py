"""Classes that moved, and which is taken for which, counted again by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from support import fake_classes
from support.fake_classes import NAMES, predict
from support.fake_study import FakeStudy, run
from videossl.job import UserError
from videossl.report import confusion

LABELS = fake_classes.labels(len(NAMES))


@pytest.fixture
def predicted(tmp_path) -> FakeStudy:
    return fake_classes.study(tmp_path / "study")


def test_gains_and_confusions(predicted, tmp_path):
    predict(predicted, "scratch", np.zeros(40, int))  # right for the first class alone
    guesses = LABELS.copy()
    guesses[LABELS == 0] = 1
    guesses[np.flatnonzero(LABELS == 2)[:3]] = 3
    predict(predicted, "rspnet", guesses)
    page = (run(predicted, tmp_path / "out") / "report.html").read_text()
    section = page.partition('<h2 id="classes">')[2].partition("</section>")[0]
    assert "Linear probe: synthetic" in section
    rows = section.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr>")[1:]
    wanted = [("GrowCircle", "down", "−100"), ("ShakeFast", "up", "+100")]
    wanted += [("&lt;script&gt;alert(1)&lt;/script&gt;", "up", "+100"), ("OrbitLeft", "up", "+70")]
    for row, (name, way, points) in zip(rows, wanted, strict=True):
        assert f'<th scope="row">{name}</th>' in row
        assert f'<td class="{way}">{points}</td>' in row
    told = section.partition("What RSPNet takes for what")[2]
    assert told.index("GrowCircle for ShakeFast: 10 of 10 examples") < told.index(
        "OrbitLeft for &lt;script&gt;alert(1)&lt;/script&gt;: 3 of 10 examples"
    )
    assert "<script>alert" not in page


def section(study: FakeStudy, out) -> str:
    """The part of the page about classes."""
    page = (run(study, out) / "report.html").read_text()
    return page.partition('<h2 id="classes">')[2].partition("</section>")[0]


def maps(found: str) -> list[list[list[str]]]:
    """Every map of the page: its lines, and of each its cells as ``text.shade``."""
    tables = re.findall(r'<table class="confusion">(.+?)</table>', found, re.DOTALL)
    cells = re.compile(r'<td class="h(\d)( own)?">(.*?)</td>')
    return [
        [
            [f"{text}.{shade}{own}" for shade, own, text in cells.findall(line)]
            for line in table.partition("<tbody>")[2].split("</tr>")[:-1]
        ]
        for table in tables
    ]


def test_a_map_says_how_the_examples_of_each_class_are_divided(predicted, tmp_path):
    guesses = LABELS.copy()
    guesses[LABELS == 0] = 1
    guesses[np.flatnonzero(LABELS == 2)[:3]] = 3
    guesses[np.flatnonzero(LABELS == 3)[:1]] = 0
    predict(predicted, "rspnet", guesses)
    found = section(predicted, tmp_path / "out")
    (lines,) = maps(found)
    assert lines == [
        [".0 own", "100.5", ".0", ".0"],
        [".0", "100.5 own", ".0", ".0"],
        [".0", ".0", "70.4 own", "30.3"],
        ["10.1", ".0", ".0", "90.5 own"],
    ]
    heads = re.findall(r'<th scope="col"><span>(.+?)</span>', found)
    assert heads == [name.replace("<", "&lt;").replace(">", "&gt;") for name in NAMES]
    assert "What RSPNet takes for what by Linear probe: synthetic: of each true class" in found
    assert [int(shade) for shade in re.findall(r'<i class="h(\d)">', found)] == [1, 2, 3, 4, 5]


def test_a_row_without_a_tested_baseline_has_a_map_and_no_gains(predicted, tmp_path):
    predict(predicted, "rspnet", LABELS.copy())
    found = section(predicted, tmp_path / "out")
    assert "Gain of each class" not in found
    assert len(maps(found)) == 1


def test_of_many_classes_the_most_confused_are_drawn_the_same_in_every_map(tmp_path):
    names = [f"c{k:02d}" for k in range(confusion.MOST + 4)]
    study = fake_classes.study(tmp_path / "study", names)
    truth = fake_classes.labels(len(names))
    for row, wrong in (("scratch", range(20)), ("rspnet", range(10, 34))):
        guesses = truth.copy()
        for k in wrong:  # one example of each is taken for the next, and one for the first
            guesses[np.flatnonzero(truth == k)[:2]] = ((k + 1) % len(names), 0)
        predict(study, row, guesses)
    found = section(study, tmp_path / "out")
    first, second = (
        re.findall(r'<th scope="row">(.+?)</th>', table)
        for table in re.findall(r'<table class="confusion">(.+?)</table>', found, re.DOTALL)
    )
    assert first == second
    assert len(first) == confusion.MOST
    # 10 to 19 are mistaken in both rows, so they stay; the others with fewest mistakes go
    assert {f"c{k}" for k in range(10, 20)} | {"c00"} <= set(first)
    assert re.findall(r"<span>([^<]+)</span></th></tr>", found)[0] == confusion.OTHERS
    assert "4 more are not shown" in found
    for lines in maps(found):
        for line in lines:
            assert sum(int(cell.partition(".")[0] or 0) for cell in line) == 100


def test_small_shares_and_untested_classes_are_told_from_nothing():
    taken = np.array([[999, 1, 0], [0, 0, 0], [0, 5, 15]])
    drawn = confusion.draw(taken, ["a", "b", "c"], [0, 1, 2])
    assert [[cell.text for cell in line.cells] for line in drawn.lines] == [
        ["100", "<1", ""],
        ["–", "–", "–"],
        ["", "25", "75"],
    ]
    assert [cell.shade for cell in drawn.lines[2].cells] == [0, 2, 4]


def test_without_predictions_there_is_no_table(predicted, tmp_path):
    assert "No predictions of classes yet." in section(predicted, tmp_path / "out")


def test_damaged_predictions_are_one_line(predicted, tmp_path):
    predict(predicted, "scratch", LABELS.copy())
    (path,) = predicted.root.rglob("predictions.npz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"predictions.npz: cannot be read"):
        run(predicted, tmp_path / "out")
