"""results.tex compiles as it is, whatever stands in it, and every character has a glyph."""

from pathlib import Path

import pytest

from support import fake_published, latex
from support.fake_study import FakeStudy, method, run
from videossl.report import text_tables

pytestmark = latex.needed


def test_a_study_compiles(finished: Path, tmp_path: Path) -> None:
    assert "Missing character" not in latex.compiled(finished / "results.tex", tmp_path / "paper")


def test_a_study_of_several_seeds_compiles(tmp_path: Path) -> None:
    out = run(FakeStudy(tmp_path / "study", seeds=(0, 1, 2)).fill(), tmp_path / "out")
    assert "$\\pm$" in (out / "results.tex").read_text()
    assert "Missing character" not in latex.compiled(out / "results.tex", tmp_path / "paper")


def test_rows_with_greek_names_and_published_figures_compile(tmp_path: Path) -> None:
    fake = fake_published.evaluated(fake_published.study(tmp_path))
    fake.methods["rho_moco"] = method("rho_moco", backbone="r18", data="k400")
    fake.evaluation("rho_moco", "retrieval", {"R@1": 0.5}, test="ucf")
    out = run(fake, tmp_path / "out")
    text = (out / "results.tex").read_text()
    assert "$\\rho$MoCo" in text
    assert "\\textit{" in text
    assert "Missing character" not in latex.compiled(out / "results.tex", tmp_path / "paper")


@pytest.mark.parametrize("sign", sorted({*text_tables._TEX, "é", "ü", "’", "“", "×", "…"}))
def test_every_sign_compiles(sign: str, tmp_path: Path) -> None:
    file = tmp_path / "results.tex"
    file.write_text(f"A{text_tables.tex_escape(sign)}Z\n")
    assert "Missing character" not in latex.compiled(file, tmp_path / "paper")
