"""A run's curve: a row per epoch, in a file, and in TensorBoard and DVCLive where wanted."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from videossl.job import Job, UserError
from videossl.train.live import Live

FOLDER = "VIDEOSSL_TENSORBOARD"  # not a parameter: it changes no result
Row = dict[str, float]


def write(rows: list[Row], path: Path) -> None:
    """Write tab-separated values, one column for each name in any row; what is absent is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({name: _text(value) for name, value in row.items()})


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"


class Board:
    """Where a run's rows are shown while it runs, as far as the environment names folders.

    Events for TensorBoard: each run has its own folder there, and a run that resumes adds to it.
    Files of DVCLive: see ``live``. ``done`` are the rows that a run that resumes has already.

    Raises:
        UserError: a package that is asked for is not installed.
    """

    def __init__(self, job: Job, done: list[Row]) -> None:
        self.live = Live(job.name, done)
        self.writer: Any = None
        folder = os.environ.get(FOLDER)
        if not folder:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                f"{FOLDER} = {folder!r}: TensorBoard is not installed; pip install tensorboard"
            ) from None
        events = Path(folder, job.name)
        self.writer = SummaryWriter(str(events), purge_step=len(done) + 1)

    def add(self, row: Row) -> None:
        """Show one epoch's row."""
        self.live.add(row)
        if self.writer is None:
            return
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(name, value, int(row["epoch"]))
        self.writer.flush()

    def close(self) -> None:
        """End the file of events."""
        if self.writer is not None:
            self.writer.close()
