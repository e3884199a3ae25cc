"""Tables: rows and columns, means over seeds and splits, gains, marks, Markdown and LaTeX."""

import re
from pathlib import Path

import numpy as np
import pytest

from support.fake_study import FakeStudy, finetune, method, probe, run
from videossl.downstream import declarations
from videossl.report import inputs, layout, results, tables, text_tables, wording


def build(study: FakeStudy) -> list[tables.Table]:
    params = study.params()
    folders = inputs.read(study.job(study.root / "unused"))
    found = results.read(folders["evaluations"])
    return tables.build(found, layout.rows(params), layout.groups(params, found))


def cell(table: tables.Table, row: str, protocol: str, metric: str = "top1") -> tables.Cell:
    (found,) = (
        cell
        for (name, column), cell in table.cells.items()
        if (name, column.group.protocol, column.metric) == (row, protocol, metric)
    )
    return found


# ------------------------------------------------------------------ numbers


def test_where_nothing_is_better_no_row_is_best(empty_study: FakeStudy) -> None:
    for row, accuracy, error in (("scratch", 0.5, 0.02), ("rspnet", 0.6, 0.01)):
        empty_study.evaluation(row, "linear", {"accuracy": accuracy, "accuracy_se": error})
    (table,) = build(empty_study)
    best, error = (cell(table, "rspnet", "linear", m) for m in ("accuracy", "accuracy_se"))
    assert (best.mark, best.interval) == ("best", None)
    assert best.gain == pytest.approx(0.1)
    assert (error.mark, error.gain, error.value) == (None, None, 0.01)
    assert [column.metric for column in table.rules] == ["accuracy"]
    assert [column.title for column in table.columns] == ["accuracy", "its standard error"]


def test_values_are_means_over_seeds_of_means_over_splits(empty_study: FakeStudy) -> None:
    values = {(0, 1): 0.2, (0, 2): 0.4, (1, 1): 0.5, (1, 2): 0.6}
    for (seed, split), value in values.items():
        empty_study.evaluation("scratch", "linear", {"top1": value}, seed=seed, split=split, n=50)
    (table,) = build(empty_study)
    found = cell(table, "scratch", "linear")
    assert found.value == pytest.approx((0.3 + 0.55) / 2)
    assert found.sd == pytest.approx(np.std([0.3, 0.55], ddof=1))
    assert found.n == 100  # of two splits; seeds do not count again
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


def test_examples_that_splits_share_count_once(empty_study: FakeStudy) -> None:
    hits = {"top1": np.arange(50) < 25}
    for split in (1, 2):
        empty_study.evaluation("scratch", "linear", {"top1": 0.5}, split=split, n=50, hits=hits)
    (table,) = build(empty_study)
    assert cell(table, "scratch", "linear").n == 50


def test_rows_are_paired_over_examples_seeds_and_splits(empty_study: FakeStudy) -> None:
    """One seed each way cancels out; what stays is compared."""
    for seed in (0, 1):
        ones = {"top1": np.arange(40) % 2 == seed}
        more = {"top1": (np.arange(40) % 2 == seed) | (np.arange(40) < 8)}
        empty_study.evaluation("rspnet", "linear", {"top1": 0.5}, seed=seed, n=40, hits=ones)
        empty_study.evaluation("rho_moco", "linear", {"top1": 0.6}, seed=seed, n=40, hits=more)
    (table,) = build(empty_study)
    assert set(table.rules.values()) == {"examples"}
    assert cell(table, "rho_moco", "linear").mark == "best"
    assert cell(table, "rspnet", "linear").mark is None


def test_each_row_is_compared_with_the_baseline_of_its_backbone(empty_study: FakeStudy) -> None:
    empty_study.baselines = {"scratch": "small", "official": "small", "scratch_c3d": "c3d"}
    empty_study.methods = {
        "rspnet": method("rspnet"),
        "rspnet_c3d": method("rspnet", "c3d"),
        "vtdl": method("vtdl", "slow"),
    }
    shares = (0.1, 0.3, 0.2, 0.5, 0.9, 0.4)
    for row, share in zip((*empty_study.baselines, *empty_study.methods), shares, strict=True):
        empty_study.evaluation(row, "knn", {"top1": share})
    (table,) = build(empty_study)
    gains = {row.name: cell(table, row.name, "knn").gain for row in table.rows}
    assert gains == {
        "scratch": None,
        "official": pytest.approx(0.2),
        "scratch_c3d": None,
        "rspnet": pytest.approx(0.4),
        "rspnet_c3d": pytest.approx(0.7),
        "vtdl": None,
    }
    said = " ".join(text_tables.reading(table))
    assert (
        "over the baseline with the row's backbone: scratch (small) and scratch_c3d (c3d)." in said
    )
    assert [row.title for row in table.rows][3:] == ["RSPNet", "RSPNet (rspnet_c3d)", "VTDL"]


def test_without_a_baseline_there_is_no_gain(empty_study: FakeStudy) -> None:
    empty_study.baselines = {}
    empty_study.evaluation("rspnet", "knn", {"top1": 0.5})
    (table,) = build(empty_study)
    assert cell(table, "rspnet", "knn").gain is None
    assert "Gains" not in text_tables.markdown([table], 1)


def test_a_number_where_smaller_is_better(
    empty_study: FakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distance = declarations.Metric("KL", share=False, better="low", interval="none")
    monkeypatch.setitem(declarations.METRICS, "kl", distance)
    for row, value in (("scratch", 1.5), ("rspnet", 0.25), ("rho_moco", 0.5)):
        empty_study.evaluation(row, "linear", {"kl": value})
    (table,) = build(empty_study)
    found = cell(table, "rspnet", "linear", "kl")
    assert (found.mark, found.interval) == ("best", None)
    out = run(empty_study, tmp_path / "out")
    assert "| RSPNet | **0.250** (−1.250) |" in (out / "results.md").read_text()
    page = (out / "report.html").read_text()
    assert '<small class="up">−1.250</small>' in page
    assert "KL ↓" in page


def test_an_undeclared_metric_is_an_error(empty_study: FakeStudy) -> None:
    empty_study.evaluation("rspnet", "linear", {"guess": 0.5})
    with pytest.raises(LookupError, match="'guess' is not declared"):
        build(empty_study)


# ------------------------------------------------------------------ layout


def test_tests_on_the_same_labels_share_a_table(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.datasets = ("synthetic", "ucf101")
    empty_study.finetune = {"few": finetune(), "ucf": finetune("ucf101", splits=[1, 2, 3])}
    empty_study.probe = {
        "few": probe(protocols=("knn",)),
        "scenes": probe("ucf101", "scene", protocols=("linear",)),
        "none": probe("ucf101", "pairs", protocols=()),
    }
    for row in ("scratch", "rspnet"):
        empty_study.evaluation(row, "recognition", {"top1": 0.5}, test="few")
        for split in (1, 2, 3):
            empty_study.evaluation(row, "recognition", {"top1": 0.5}, test="ucf", split=split)
        empty_study.evaluation(row, "knn", {"top1": 0.5}, test="few")
        empty_study.evaluation(row, "linear", {"top1": 0.5}, test="scenes")
    heads = {t.title: [t.group_title(g) for g in t.groups] for t in build(empty_study)}
    assert heads == {
        "synthetic": ["Fine-tuned recognition", "kNN"],
        "ucf101, action": ["Fine-tuned recognition, 3 splits"],
        "ucf101, scene": ["Linear probe"],
    }
    empty_study.probe["many"] = probe(protocols=("knn",))
    for row in ("scratch", "rspnet"):
        empty_study.evaluation(row, "knn", {"top1": 0.5}, test="many")
    table = build(empty_study)[0]
    titles = [table.group_title(group) for group in table.groups]
    assert titles == ["few: Fine-tuned recognition", "few: kNN", "many: kNN"]
    run(empty_study, tmp_path / "out")


def test_metrics_sort_by_stem_then_number() -> None:
    names = ["mAP", "R@10", "R@5", "R@1", "loss"]
    assert results.ordered_metrics(names) == ["mAP", "R@1", "R@5", "R@10", "loss"]


# ------------------------------------------------------------------ Markdown, LaTeX, wording


def test_markdown_marks_the_best_and_shows_gains(finished: Path) -> None:
    lines = (finished / "results.md").read_text().splitlines()
    assert lines[2].startswith("| Row | Fine-tuned recognition top-1 | Fine-tuned recognition")
    assert lines[4].startswith("| scratch | 57.8 | 88.9 | 34.4 | 76.1 | 27.2 | 67.2 | 26.1 |")
    assert "| 71.1 ≈ (+43.9) |" in lines[5]
    assert "| **82.8** (+48.3) |" in lines[6]
    assert "| 66.1 ≈ (+40.0) |" in lines[6]
    assert "Bold is better than every other row beyond noise: over the same test" in lines[8]


def test_several_seeds_show_their_deviation(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study", seeds=(0, 1, 2)).fill()
    out = run(study, tmp_path / "out")
    shares = np.array([157, 155, 153]) / 180
    value, sd = 100 * shares.mean(), 100 * shares.std(ddof=1)
    assert f"{value:.1f} ± {sd:.1f}" in (out / "results.md").read_text()
    assert f"{value:.1f} $\\pm$ {sd:.1f}" in (out / "results.tex").read_text()


def test_latex_has_balanced_columns(finished: Path) -> None:
    text = (finished / "results.tex").read_text()
    assert "\\begin{tabular}{lrrrrrrrrrrr}" in text
    assert re.findall(r"cmidrule\(lr\)\{(.*?)\}", text) == ["2-3", "4-5", "6-7", "8-12"]
    assert "\\textbf{82.8} {\\scriptsize (+48.3)}" in text
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert [line.count(" & ") for line in lines[1:]] == [11] * 4


def test_tex_escapes_every_special() -> None:
    special = r"a_b%c&d#e$f{g}h~i^j\k"
    assert text_tables.tex_escape(special) == (
        r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


def test_changes_have_no_negative_zero() -> None:
    top1 = declarations.metric("top1")
    assert wording.change(-0.0001, top1, 1) == "+0.0"
    assert wording.change(-0.05, top1, 1) == "−5.0"
    assert wording.direction(-0.0001, top1, 1) == "none"


def test_titles_of_the_study() -> None:
    rows = [layout.Row(*names, None) for names in (
        ("scratch", "none", "small"), ("rho_byol", "rho_byol", "small"),
        ("slow_hdc", "hdc", "slow"), ("mine", "mine", "small"))]  # fmt: skip
    assert [row.title for row in rows] == ["scratch", "ρBYOL", "HDC (slow_hdc)", "mine"]
