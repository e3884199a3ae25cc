"""The aggregate stage on made-up results: numbers, order, files, escaping, and gaps."""

import json
import re
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.fake_study import CORRECT, FOLDER, RHO_MOCO, RSPNET, SYNTHETIC, FakeStudy, N
from videossl import schema
from videossl.job import UserError
from videossl.report import aggregate, figures, sections, tables

VOID = {"meta", "link", "col", "br"}


class Page(HTMLParser):
    """Text of a page, its tags, its ids; fails on a tag that is closed out of order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def run(study: FakeStudy, out: Path, **inputs: tuple[Path, ...]) -> Path:
    aggregate.run(study.job(out, **inputs), study.params())
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def html(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------ files and numbers


def test_writes_all_outputs(study: FakeStudy, tmp_path: Path) -> None:
    out = run(study, tmp_path / "out")
    assert sorted(contents(out)) == [
        "bars.csv",
        "curves.csv",
        "figures/bars_synthetic_knn.svg",
        "figures/bars_synthetic_linear.svg",
        "figures/bars_synthetic_recognition.svg",
        "figures/bars_synthetic_retrieval.svg",
        "figures/finetuning_synthetic_loss.svg",
        "figures/finetuning_synthetic_validation_top1.svg",
        "figures/pretraining_rho_moco.svg",
        "figures/pretraining_rspnet.svg",
        "metrics.json",
        "report.html",
        "results.csv",
        "results.md",
        "results.tex",
    ]


def test_results_hold_every_number_in_order_and_in_full(study: FakeStudy, tmp_path: Path) -> None:
    text = (run(study, tmp_path / "out") / "results.csv").read_text()
    header, *lines = text.splitlines()
    assert header == "method,dataset,protocol,split,metric,value,n,seed"
    retrieval = ["R@1", "R@5", "R@10", "R@20", "R@50"]
    expected = []
    for place, row in enumerate(("scratch", "rspnet", "rho_moco")):
        for protocol in ("recognition", "linear", "knn", "retrieval"):
            for metric in retrieval if protocol == "retrieval" else ("top1", "top5"):
                value = CORRECT[protocol][metric][place] / N
                expected.append(f"{row},synthetic,{protocol},1,{metric},{value!r},{N},0")
    assert lines == expected


def test_metrics_and_bars_repeat_the_results(study: FakeStudy, tmp_path: Path) -> None:
    out = run(study, tmp_path / "out")
    nested = json.loads((out / "metrics.json").read_text())
    assert nested["rspnet"]["synthetic"]["linear"] == {"top1": 135 / N, "top5": 172 / N}
    bars = pd.read_csv(out / "bars.csv")
    assert set(zip(bars["protocol"], bars["metric"], strict=True)) == {
        ("recognition", "top1"),
        ("linear", "top1"),
        ("knn", "top1"),
        ("retrieval", "R@1"),
    }
    for bar in bars.itertuples():
        assert bar.value == nested[bar.method][bar.dataset][bar.protocol][bar.metric]


def test_curves_hold_both_kinds_of_training(study: FakeStudy, tmp_path: Path) -> None:
    curves = pd.read_csv(run(study, tmp_path / "out") / "curves.csv")
    assert list(curves.columns[:6]) == ["method", "stage", "step", "epoch", "loss", "lr"]
    counts = curves.groupby(["method", "stage"]).size().to_dict()
    assert counts == {
        ("rspnet", "pretrain"): 400,
        ("rho_moco", "pretrain"): 400,
        ("scratch", "finetune"): 12,
        ("rspnet", "finetune"): 12,
        ("rho_moco", "finetune"): 12,
    }


def test_same_bytes_however_the_inputs_are_passed(study: FakeStudy, tmp_path: Path) -> None:
    named = contents(run(study, tmp_path / "a"))
    assert contents(run(study, tmp_path / "b")) == named
    assert contents(run(study, tmp_path / "c", **study.parents())) == named
    both = {role: (*study.job(tmp_path / f"x{role}").inputs[role], *paths, *paths)
            for role, paths in study.parents().items()}  # fmt: skip
    assert contents(run(study, tmp_path / "d", **both)) == named
    assert not any(str(tmp_path).encode() in data for data in named.values())


def test_leftovers_and_unfinished_outputs_are_left_out(study: FakeStudy, tmp_path: Path) -> None:
    before = contents(run(study, tmp_path / "a"))
    study.evaluation("removed", "synthetic", "linear", {"top1": 1.0})
    study.evaluation("rspnet", "removed_data", "linear", {"top1": 1.0})
    study.pretraining("removed", 50, 3.0, 2.0)
    study.finetuning("removed", "synthetic", 0.5)
    study.decoding("removed_data", 1)
    unfinished = study.root / "evaluate" / ".rspnet.tmp"
    shutil.copytree(study.root / "evaluate" / "rspnet" / "synthetic" / "linear", unfinished)
    assert contents(run(study, tmp_path / "b", **study.parents())) == before


def test_a_removed_method_leaves_every_output(study: FakeStudy, tmp_path: Path) -> None:
    study.methods = schema.Methods.model_construct(rho_moco=RHO_MOCO)
    out = run(study, tmp_path / "out", **study.parents())
    assert not any(b"rspnet" in data.lower() for name, data in contents(out).items()
                   if name != "report.html")  # fmt: skip
    assert "rspnet" not in Page(html(out)).text.replace(study.title, "").lower()


def test_two_datasets_have_a_table_each(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study", datasets={"ucf101": FOLDER, "synthetic": SYNTHETIC})
    out = run(study.fill(), tmp_path / "out")
    heads = re.findall(r"^## (.*)$", (out / "results.md").read_text(), re.MULTILINE)
    assert heads == ["ucf101", "synthetic"]
    assert (out / "results.tex").read_text().count("\\begin{tabular}") == 2
    names = [attrs.get("class") for tag, attrs in Page(html(out)).tags if tag == "table"]
    assert names.count("wide results") == 2


# ------------------------------------------------------------------ gaps


def test_nothing_evaluated_gives_a_page(empty_study: FakeStudy, tmp_path: Path) -> None:
    out = run(empty_study, tmp_path / "out")
    assert "No evaluation has finished yet." in Page(html(out)).text
    assert (out / "results.csv").read_text().splitlines() == [",".join(tables.COLUMNS)]
    assert json.loads((out / "metrics.json").read_text()) == {}


def test_missing_evaluations_are_dashes(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.evaluation("rspnet", "synthetic", "linear", {"top1": 0.5})
    empty_study.evaluation("rho_moco", "synthetic", "knn", {"top1": 0.25})
    out = run(empty_study, tmp_path / "out")
    lines = (out / "results.md").read_text().splitlines()
    assert "| scratch | – | – |" in lines
    assert "| RSPNet | **50.0** | – |" in lines
    assert "| ρMoCo | – | **25.0** |" in lines
    assert "ρMoCo not evaluated" in html(out)


def test_unknown_baseline_is_the_users_error(study: FakeStudy, tmp_path: Path) -> None:
    study.baseline = "imagenet"
    with pytest.raises(
        UserError, match=r"report\.baseline = 'imagenet'.*scratch, rspnet, rho_moco"
    ):
        run(study, tmp_path / "out")


def test_a_method_may_be_the_baseline(study: FakeStudy, tmp_path: Path) -> None:
    study.baseline = "rho_moco"
    lines = (run(study, tmp_path / "out") / "results.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| RSPNet"))
    assert row.startswith("| RSPNet | 82.2 (−5.0) | 97.8 (−1.1) | 75.0 (−7.8)")


# ------------------------------------------------------------------ tables


def test_markdown_shows_best_bold_and_gains(study: FakeStudy, tmp_path: Path) -> None:
    lines = (run(study, tmp_path / "out") / "results.md").read_text().splitlines()
    assert lines[2].startswith("| Method | Fine-tuned recognition top-1 | Fine-tuned recognition")
    assert lines[4].startswith("| scratch | 57.8 | 88.9 | 34.4 | 76.1 | 27.2 | 67.2 | 26.1 |")
    assert "| **71.1** (+43.9) |" in lines[5]
    assert "| **66.1** (+40.0) |" in lines[5]  # R@1 is the same for both: both are best
    assert "| **66.1** (+40.0) |" in lines[6]


def test_latex_has_balanced_columns(study: FakeStudy, tmp_path: Path) -> None:
    text = (run(study, tmp_path / "out") / "results.tex").read_text()
    assert "\\begin{tabular}{lrrrrrrrrrrr}" in text
    assert (
        "\\cmidrule(lr){2-3} \\cmidrule(lr){4-5} \\cmidrule(lr){6-7} \\cmidrule(lr){8-12}" in text
    )
    assert "$\\rho$MoCo & \\textbf{87.2} {\\scriptsize (+29.4)}" in text
    body = [
        line for line in text.splitlines() if line.endswith("\\\\") and "multicolumn" not in line
    ]
    assert [line.count(" & ") for line in body] == [11] * 4


def test_tex_escapes_every_special() -> None:
    special = r"a_b%c&d#e$f{g}h~i^j\k"
    assert tables.tex_escape(special) == (
        r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


def test_values_are_means_over_splits() -> None:
    lines = [
        ("a", "d", "linear", split, "top1", value, 50, 0) for split, value in ((1, 0.2), (2, 0.4))
    ]
    frame = pd.DataFrame(lines, columns=list(tables.COLUMNS))
    (table,) = tables.build_tables(frame, ["a"], ["d"], "a")
    cell = table.cells["a", "linear", "top1"]
    assert cell.value == pytest.approx(0.3)
    assert cell.n == 100
    assert (cell.low, cell.high) == tables.wilson(cell.value, 100)


def test_metrics_sort_by_stem_then_number() -> None:
    assert tables.ordered_metrics(["mAP", "R@10", "R@5", "R@1", "loss"]) == [
        "mAP",
        "R@1",
        "R@5",
        "R@10",
        "loss",
    ]


def test_protocols_have_their_usual_order() -> None:
    names = ["zeta", "retrieval", "alpha", "linear", "recognition"]
    assert tables.ordered_protocols(names) == [
        "recognition",
        "linear",
        "retrieval",
        "alpha",
        "zeta",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("top1", "top-1"), ("R@5", "R@5"), ("r@10", "R@10"), ("recall@50", "R@50"), ("mAP", "mAP")],
)
def test_metric_names(name: str, shown: str) -> None:
    assert tables.metric_name(name) == shown


def test_points_have_no_negative_zero() -> None:
    assert tables.points(-0.0001, 1) == "+0.0"
    assert tables.points(-0.05, 1) == "−5.0"


def test_wilson_known_value() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263.
    low, high = tables.wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_holds_the_share_within_bounds(n: int, share: float) -> None:
    low, high = tables.wilson(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


# ------------------------------------------------------------------ curves and figures


@given(rows=st.integers(1, 500), limit=st.integers(1, 60))
def test_thinned_curve_keeps_its_end_and_its_level(rows: int, limit: int) -> None:
    curve = pd.DataFrame({"step": range(rows), "loss": [2.0] * rows})
    thinned = aggregate.thin(curve, limit)
    assert len(thinned) == min(rows, limit)
    assert thinned["step"].iloc[-1] == rows - 1
    assert thinned["step"].is_monotonic_increasing
    assert (thinned["loss"] == 2.0).all()


def test_figures_have_no_date_and_unique_ids(study: FakeStudy, tmp_path: Path) -> None:
    out = run(study, tmp_path / "out")
    for file in (out / "figures").iterdir():
        assert "<dc:date>" not in file.read_text()
    ids = [attrs["id"] for _, attrs in Page(html(out)).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_colour_of_the_figures_is_in_both_schemes() -> None:
    style = (resources.files("videossl.report") / "style.css").read_text()
    for name in figures.INKS:
        assert style.count(f"--{name}: ") == 3  # light, dark, print
    assert len(set(figures.INKS.values())) == len(figures.INKS)


def test_drawing_changes_no_global_setting(study: FakeStudy, tmp_path: Path) -> None:
    import matplotlib as mpl

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


# ------------------------------------------------------------------ the page


def test_page_is_well_formed_and_loads_nothing(study: FakeStudy, tmp_path: Path) -> None:
    text = html(run(study, tmp_path / "out"))
    page = Page(text)
    assert "http" not in text
    assert not re.search(r"@import|url\((?!#)", text)
    for tag, attrs in page.tags:
        assert not attrs.get("src")
        assert tag != "th" or attrs.get("scope") in {"col", "row", "colgroup"}
        if tag == "svg":
            assert attrs["role"] == "img"
            assert len(attrs["aria-label"] or "") > 40


def test_page_says_who_is_best(study: FakeStudy, tmp_path: Path) -> None:
    text = Page(html(run(study, tmp_path / "out"))).text
    assert (
        "On synthetic, ρMoCo is best in fine-tuned recognition (87.2 %, +29.4 points) and linear "
        "probe (82.8 %, +48.3 points); RSPNet is best in kNN (71.1 %, +43.9 points); RSPNet and "
        "ρMoCo are best in retrieval (66.1 %, +40.0 points). Gains are over scratch."
    ) in text


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


def test_durations_add_up(study: FakeStudy, tmp_path: Path) -> None:
    text = html(run(study, tmp_path / "out"))
    total = 0.4 + 2 * 93.2 + 3 * 41.0 + 12 * 2.4 + 11.8
    foot = text[text.index("<tfoot>") : text.index("</tfoot>")]
    assert foot.endswith(f"<td>{sections.duration(total)}</td></tr>")


def test_import_stays_light() -> None:
    import subprocess
    import sys

    code = "import sys, videossl.report.aggregate as a; print('torch' in sys.modules)"
    code += "; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_method_names_of_the_study() -> None:
    names = [tables.method_name(name) for name in ("scratch", "rho_byol", "order_geometry", "mine")]
    assert names == ["scratch", "ρBYOL", "Order+Geometry", "mine"]
    assert RSPNET is not RHO_MOCO
