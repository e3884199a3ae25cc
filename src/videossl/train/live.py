"""A training run's curve in DVCLive, which `dvc exp show` reads while the training runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from videossl.job import UserError

FOLDER = "VIDEOSSL_DVCLIVE"  # not a parameter: it changes no result
# DVC finds a run's numbers by a dvc.yaml beside them. DVCLive's own grows with every step.
FOUND_BY = "metrics:\n- metrics.json\nplots:\n- plots/metrics:\n    x: step\n"


class Live:
    """DVCLive's files of one run below the folder that the environment names; else nothing.

    Each run has its own folder there, so that runs side by side share no file. A run that resumes
    writes the rows it has first: what came after its checkpoint is gone. DVCLive's ``end`` is not
    called: it would add the folder to git's index, where trainings side by side meet.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, name: str, rows: list[dict[str, float]]) -> None:
        self.writer: Any = None
        folder = os.environ.get(FOLDER)
        if not folder:
            return
        try:
            from dvclive import Live as Writer
        except ImportError:
            raise UserError(
                f"{FOLDER} = {folder!r}: DVCLive is not installed; pip install dvclive"
            ) from None
        own = Path(folder, name)
        # `dvc exp run` saves the experiment, and the study's dvc.yaml stays as it is
        self.writer = Writer(str(own), save_dvc_exp=False, dvcyaml=False)
        (own / "dvc.yaml").write_text(FOUND_BY, encoding="utf-8")
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, float]) -> None:
        """Show one epoch's row; DVCLive's step is the epoch."""
        if self.writer is None:
            return
        self.writer.step = int(row["epoch"])
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self.writer.log_metric(name, value)
        self.writer.make_summary()
