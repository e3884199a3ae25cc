"""A table of results set by pdfLaTeX, as an author would have it in a paper."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needed = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="pdflatex is not installed: run .ci/install pdflatex texlive-latex-recommended",
)
PAPER = """\\documentclass{article}
\\usepackage{booktabs}
\\begin{document}
\\input{results}
\\end{document}
"""


def compiled(results: Path, folder: Path) -> str:
    """What pdfLaTeX says of a paper that holds ``results`` and nothing else.

    Raises:
        AssertionError: it found an error.
    """
    folder.mkdir()
    shutil.copy(results, folder / "results.tex")
    (folder / "paper.tex").write_text(PAPER)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
    return (folder / "paper.log").read_text(errors="replace")
