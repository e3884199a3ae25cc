"""Figures and the page: what they say, and that they are safe to open anywhere."""

import re
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from support.fake_study import FakeStudy, method, run
from support.read_page import Page, html
from videossl.report import drawing, figures, layout, page, sections, tables, wording


def plain(out: Path) -> str:
    """The page's text with one space where there are several, or a line ends."""
    return re.sub(r"\s+", " ", Page(html(out)).text)


def test_figures_have_no_date_and_unique_ids(finished: Path) -> None:
    for file in (finished / "figures").iterdir():
        assert "<dc:date>" not in file.read_text()
    ids = [attrs["id"] for _, attrs in Page(html(finished)).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_colour_of_the_figures_is_in_both_schemes() -> None:
    style = (resources.files("videossl.report") / "style.css").read_text()
    for name in drawing.INKS:
        assert style.count(f"--{name}: ") == 3  # light, dark, print
    assert len(set(drawing.INKS.values())) == len(drawing.INKS)


def test_drawing_changes_no_global_setting(study: FakeStudy, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    run(study, tmp_path / "out")
    assert dict(mpl.rcParams) == before


def test_one_epoch_and_many_rows_are_drawn(empty_study: FakeStudy, tmp_path: Path) -> None:
    names = ["scratch", *(f"row_{i}" for i in range(10))]
    empty_study.methods = {name: method(name) for name in names[1:]}
    for i, name in enumerate(names):
        folder = empty_study.finetuning(name, 0.05 * i)
        head, first, *_ = (folder / "curve.tsv").read_text().splitlines()
        (folder / "curve.tsv").write_text(f"{head}\n{first}\n")
    out = run(empty_study, tmp_path / "out")
    svg = (out / "figures" / "finetuning-synthetic-score.svg").read_text()
    assert all(name in svg for name in names)


def test_a_test_without_validation_has_no_score_to_draw(
    empty_study: FakeStudy, tmp_path: Path
) -> None:
    folder = empty_study.finetuning("scratch", 0.5)
    (folder / "curve.tsv").write_text("epoch\tloss\tvalidation_top1\n0\t2.0\t\n1\t1.0\t\n")
    out = run(empty_study, tmp_path / "out")
    assert [f.name for f in (out / "figures").iterdir()] == ["finetuning-synthetic-loss.svg"]


def test_bars_have_the_baseline_of_each_backbone(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.baselines = {"scratch": "small", "scratch_c3d": "c3d"}
    empty_study.methods = {"rspnet": method("rspnet"), "rspnet_c3d": method("rspnet", "c3d")}
    for i, row in enumerate((*empty_study.baselines, *empty_study.methods)):
        empty_study.evaluation(row, "knn", {"top1": 0.2 + 0.1 * i})
    svg = (run(empty_study, tmp_path / "out") / "figures/bars-probe-synthetic-knn.svg").read_text()
    dashed = [
        line
        for line in svg.splitlines()
        if "stroke-dasharray" in line and drawing.INKS["soft"] in line
    ]
    assert len(dashed) == 4  # rows of two backbones take turns


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


def test_page_says_who_is_best_and_how_that_is_told(finished: Path) -> None:
    text = plain(finished)
    assert (
        "On synthetic, ρMoCo and RSPNet are level in fine-tuned recognition (87.2 %, +29.4 points);"
        " ρMoCo is best in linear probe (82.8 %, +48.3 points); RSPNet and ρMoCo are level in kNN"
        " (71.1 %, +43.9 points) and retrieval (66.1 %, +40.0 points). Gains are over scratch."
    ) in text
    assert text.count("over the same test examples, the mean difference exceeds 1.96") == 2


def test_page_says_by_which_rule_of_which_columns(empty_study: FakeStudy, tmp_path: Path) -> None:
    hits = {"top1": np.arange(180) < 90}
    for row in ("scratch", "rspnet"):
        for seed in (0, 1):
            empty_study.evaluation(row, "knn", {"top1": 0.5}, seed=seed, hits=hits)
            empty_study.evaluation(row, "linear", {"top1": 0.5}, seed=seed)
        empty_study.evaluation(row, "retrieval", {"R@1": 0.5})
    text = plain(run(empty_study, tmp_path / "out"))
    assert "kNN top-1: Bold is better than every other row beyond noise: over the same" in text
    assert "Linear probe top-1: Bold is better than every other row beyond noise: the diff" in text
    assert "Retrieval R@1: Bold is the best number, which may be so by chance" in text


def test_tiles_say_what_the_best_is_compared_with(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.methods["vtdl"] = method("vtdl", "slow")
    empty_study.evaluation("scratch", "linear", {"top1": 0.5})
    for row, knn in (("scratch", 0.4), ("rspnet", 0.5)):
        empty_study.evaluation(row, "knn", {"top1": knn})
    for row, share in (("rspnet", 0.5), ("vtdl", 0.4)):
        empty_study.evaluation(row, "retrieval", {"R@1": share})
    empty_study.evaluation("vtdl", "recognition", {"top1": 0.5})
    text = html(run(empty_study, tmp_path / "out"))
    tiles = re.findall(r'<span class="who gain">(.*?)</span>', text)
    assert tiles == [
        "no baseline with its backbone",
        "the baseline",
        '<b class="up">+10.0</b> points over scratch',
        "scratch not evaluated",
    ]


def test_a_tile_of_several_leaders_says_that_the_baseline_is_one(empty_study, tmp_path):
    for row in ("scratch", "rspnet"):
        empty_study.evaluation(row, "knn", {"top1": 0.5})
    text = html(run(empty_study, tmp_path / "out"))
    assert re.findall(r'<span class="who gain">(.*?)</span>', text) == [
        "the baseline is among them"
    ]


def test_deviations_of_shares_end_where_shares_do():
    group = layout.Group("probe", "t", "knn", "d", "class", (1,))
    share, other = (tables.Column(group, name) for name in ("top1", "KL"))
    for value, wanted in ((0.04, (0.0, 0.1)), (0.5, (0.44, 0.56)), (0.98, (0.92, 1.0))):
        cell = tables.Cell(value, 0.06, 9, None, None, None)
        assert figures._reach(cell, share) == pytest.approx(wanted)
    assert figures._reach(tables.Cell(0.04, 0.06, 9, None, None, None), other) == pytest.approx(
        (-0.02, 0.1)
    )


def test_videos_of_one_length_have_one_number():
    videos = [{"frames": 32}, {"frames": 32}]
    text = sections.data("d", {"videos": videos, "rejects": []})["text"]
    assert text == "2 videos, 32 frames long. No file was rejected."
    videos[0]["frames"] = 30
    assert "30 to 32 frames long (median 31)" in str(
        sections.data("d", {"videos": videos, "rejects": []})["text"]
    )


def test_names_break_where_their_parts_meet():
    breakable = page.environment().filters["breakable"]
    assert breakable("OrbitLeft/v_g01.mp4") == "Orbit<wbr>Left/<wbr>v_<wbr>g01.<wbr>mp4"
    assert breakable("<B>a&B") == "&lt;B&gt;a&amp;B"


def test_head_says_seeds_splits_and_backbones(finished: Path, tmp_path: Path) -> None:
    assert "dataset synthetic · 3 rows · backbone small · seed 0 · split 1" in plain(finished)
    study = FakeStudy(tmp_path / "study", seeds=(0, 1, 5)).fill()
    out = run(study, tmp_path / "out")
    assert "· seeds 0, 1, 5 · split 1" in plain(out)
    assert "± is the standard deviation over seeds." in plain(out)
    assert re.search(r'<small class="sd">±2\.9</small><small class="up">\+27\.2</small>', html(out))
    svg = (out / "figures" / "pretraining-rspnet.svg").read_text()
    assert all(f"seed {seed}" in svg for seed in (0, 1, 5))


def test_page_escapes_names(study: FakeStudy, tmp_path: Path) -> None:
    study.title = "<script>alert('1')</script> & {{ x }} $x"
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


def test_a_dataset_without_labels_or_videos(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.decoding("synthetic", 0, classes=[], videos=[])
    empty_study.datasets = ("synthetic", "later")
    text = plain(run(empty_study, tmp_path / "out"))
    assert "0 videos. No file was rejected." in text
    assert "later Not decoded yet." in text


def test_page_shows_parameters_and_versions_that_differ(study: FakeStudy, tmp_path: Path) -> None:
    record = study.inputs["classifiers"][0] / "stage.json"
    record.write_text(record.read_text().replace("3.11.7", "3.13.1"))
    text = plain(run(study, tmp_path / "out"))
    assert "3.13.1 (finetune scratch synthetic 0 1)" in text
    assert "task margin 0.15" in re.sub(r"(?<=task)(?=margin)|(?<=margin)(?=0)", " ", text)


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
    assert wording.duration(seconds) == shown


def test_durations_add_up(finished: Path) -> None:
    text = html(finished)
    total = 0.4 + 2 * 93.2 + 3 * 41.0 + 12 * 2.4 + 11.8
    foot = text[text.index("<tfoot>") : text.index("</tfoot>")]
    assert foot.endswith(f"<td>{wording.duration(total)}</td></tr>")
