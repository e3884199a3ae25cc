"""Tables: order, best, gains, intervals, and their Markdown and LaTeX."""

import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossl.report import tables


def test_markdown_shows_best_bold_and_gains(finished: Path) -> None:
    lines = (finished / "results.md").read_text().splitlines()
    assert lines[2].startswith("| Method | Fine-tuned recognition top-1 | Fine-tuned recognition")
    assert lines[4].startswith("| scratch | 57.8 | 88.9 | 34.4 | 76.1 | 27.2 | 67.2 | 26.1 |")
    assert "| **71.1** (+43.9) |" in lines[5]
    assert "| **66.1** (+40.0) |" in lines[5]  # R@1 is the same for both: both are best
    assert "| **66.1** (+40.0) |" in lines[6]


def test_latex_has_balanced_columns(finished: Path) -> None:
    text = (finished / "results.tex").read_text()
    assert "\\begin{tabular}{lrrrrrrrrrrr}" in text
    assert re.findall(r"cmidrule\(lr\)\{(.*?)\}", text) == ["2-3", "4-5", "6-7", "8-12"]
    assert "$\\rho$MoCo & \\textbf{87.2} {\\scriptsize (+29.4)}" in text
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert [line.count(" & ") for line in lines[1:]] == [11] * 4


def test_tex_escapes_every_special() -> None:
    special = r"a_b%c&d#e$f{g}h~i^j\k"
    assert tables.tex_escape(special) == (
        r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


def test_values_are_means_over_splits() -> None:
    line = ("a", "d", "linear", 1, "top1", 0.2, 50, 0)
    lines = [line, (*line[:3], 2, "top1", 0.4, 50, 0)]
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


def test_method_names_of_the_study() -> None:
    names = [tables.method_name(name) for name in ("scratch", "rho_byol", "order_geometry", "mine")]
    assert names == ["scratch", "ρBYOL", "Order+Geometry", "mine"]
