"""Figures and the page: what they say, and that they are safe to open anywhere."""

import re
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_study import FakeStudy, run
from support.read_page import Page, html
from videossl.report import aggregate, figures, sections


@given(rows=st.integers(1, 500), limit=st.integers(1, 60))
def test_thinned_curve_keeps_its_end_and_its_level(rows: int, limit: int) -> None:
    curve = pd.DataFrame({"step": range(rows), "loss": [2.0] * rows})
    thinned = aggregate.thin(curve, limit)
    assert len(thinned) == min(rows, limit)
    assert thinned["step"].iloc[-1] == rows - 1
    assert thinned["step"].is_monotonic_increasing
    assert (thinned["loss"] == 2.0).all()


def test_figures_have_no_date_and_unique_ids(finished: Path) -> None:
    for file in (finished / "figures").iterdir():
        assert "<dc:date>" not in file.read_text()
    ids = [attrs["id"] for _, attrs in Page(html(finished)).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_colour_of_the_figures_is_in_both_schemes() -> None:
    style = (resources.files("videossl.report") / "style.css").read_text()
    for name in figures.INKS:
        assert style.count(f"--{name}: ") == 3  # light, dark, print
    assert len(set(figures.INKS.values())) == len(figures.INKS)


def test_drawing_changes_no_global_setting(study: FakeStudy, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    run(study, tmp_path / "out")
    assert dict(mpl.rcParams) == before


def test_one_epoch_and_many_rows_are_drawn(empty_study: FakeStudy, tmp_path: Path) -> None:
    names = ["scratch", *(f"row_{i}" for i in range(10))]
    empty_study.baselines = tuple(names)
    for i, name in enumerate(names):
        folder = empty_study.finetuning(name, "synthetic", 0.05 * i)
        head, first, *_ = (folder / "curve.tsv").read_text().splitlines()
        (folder / "curve.tsv").write_text(f"{head}\n{first}\n")
    out = run(empty_study, tmp_path / "out")
    svg = (out / "figures" / "finetuning_synthetic_validation_top1.svg").read_text()
    assert all(name in svg for name in names)


def test_page_is_well_formed_and_loads_nothing(finished: Path) -> None:
    text = html(finished)
    page = Page(text)
    assert "http" not in text
    assert not re.search(r"@import|url\((?!#)", text)
    for tag, attrs in page.tags:
        assert not attrs.get("src")
        assert tag != "th" or attrs.get("scope") in {"col", "row", "colgroup"}
        if tag == "svg":
            assert attrs["role"] == "img"
            assert len(attrs["aria-label"] or "") > 40


def test_page_says_who_is_best(finished: Path) -> None:
    text = Page(html(finished)).text
    assert (
        "On synthetic, ρMoCo is best in fine-tuned recognition (87.2 %, +29.4 points) and linear "
        "probe (82.8 %, +48.3 points); RSPNet is best in kNN (71.1 %, +43.9 points); RSPNet and "
        "ρMoCo are best in retrieval (66.1 %, +40.0 points). Gains are over scratch."
    ) in text


def test_tiles_say_what_the_best_is_compared_with(empty_study: FakeStudy, tmp_path: Path) -> None:
    for row, knn in (("scratch", 0.5), ("rspnet", 0.5)):
        empty_study.evaluation(row, "synthetic", "knn", {"top1": knn})
    empty_study.evaluation("scratch", "synthetic", "linear", {"top1": 0.5})
    empty_study.evaluation("rspnet", "synthetic", "retrieval", {"R@1": 0.5})
    text = html(run(empty_study, tmp_path / "out"))
    tiles = re.findall(r'<span class="who gain">(.*?)</span>', text)
    assert tiles == ["the baseline", "no gain over scratch", "scratch not evaluated"]


def test_page_escapes_names(study: FakeStudy, tmp_path: Path) -> None:
    study.title = "<script>alert('1')</script> & $x"
    page = Page(html(run(study, tmp_path / "out")))
    assert [tag for tag, _ in page.tags].count("script") == 1  # its own, for sorting
    assert study.title in page.text
    assert "<b>Odd & class</b>" in page.text
    assert "moov atom not found <truncated>" in page.text


def test_page_lists_fifty_rejects_and_counts_the_rest(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study").fill(rejects=73)
    text = Page(html(run(study, tmp_path / "out"))).text
    assert "73 files were rejected" in text
    assert "v_bad_049.avi" in text
    assert "v_bad_050.avi" not in text
    assert "and 23 more" in text


def test_page_shows_a_parameter_that_differs_between_stages(
    study: FakeStudy, tmp_path: Path
) -> None:
    study.stage("finetune", {"encoder": "other", "dataset": "synthetic"}, 1.0, seed=3)
    study.baselines = ("scratch", "other")
    text = Page(html(run(study, tmp_path / "out"))).text
    assert "3 (finetune other synthetic)" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (93.2, "1 min 33 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert sections.duration(seconds) == shown


def test_durations_add_up(finished: Path) -> None:
    text = html(finished)
    total = 0.4 + 2 * 93.2 + 3 * 41.0 + 12 * 2.4 + 11.8
    foot = text[text.index("<tfoot>") : text.index("</tfoot>")]
    assert foot.endswith(f"<td>{sections.duration(total)}</td></tr>")
