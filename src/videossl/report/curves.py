"""Training curves of all rows, seeds and splits under one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from videossl.report.inputs import Folder
from videossl.report.layout import Row

CURVE_ROWS = 1000  # rows of one curve in curves.csv; the whole curve stays with its own stage

KEY = ("stage", "row", "test", "seed", "split")  # what tells curves apart; empty where it does not
COLUMNS = (*KEY, "step", "epoch", "loss", "lr")  # of curves.csv
SCORE, LOSS = "validation_", "validation_loss"


def read(folders: Iterable[Folder], rows: Sequence[Row]) -> pd.DataFrame:
    """All curves, row by row; what a stage does not log is left empty.

    Beside ``COLUMNS`` there are ``score`` and ``measure``: the validation score of fine-tuning,
    and what it measures (``top1``).
    """
    order = {row.name: place for place, row in enumerate(rows)}
    columns = [*COLUMNS, "score", "measure"]
    parts = []
    for folder in sorted(folders, key=lambda folder: order[folder.key["row"]]):
        path = folder.path / "curve.tsv"
        if not path.exists():  # random weights have no training
            continue
        curve = thin(pd.read_csv(path, sep="\t"))
        scores = [name for name in curve if str(name).startswith(SCORE) and name != LOSS]
        if scores:
            measure = str(scores[0]).removeprefix(SCORE)
            curve = curve.assign(score=curve[scores[0]], measure=measure)
        key = {name: folder.key.get(name) for name in ("row", "test", "seed", "split")}
        parts.append(curve.assign(stage=folder.stage, **key))
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat([part.reindex(columns=columns).astype(object) for part in parts])


def thin(curve: pd.DataFrame, limit: int = CURVE_ROWS) -> pd.DataFrame:
    """At most ``limit`` rows: of each run of neighbours the mean loss and, for the rest, the last.

    Per-step logs of a large study have millions of rows; a browser draws a few hundred.
    """
    if len(curve) <= limit:
        return curve
    groups = curve.groupby([i * limit // len(curve) for i in range(len(curve))])
    return groups.last().assign(loss=groups["loss"].mean())


def one_by_one(curves: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """The name of each curve, and the curve: ``finetune-rspnet-ucf101-seed-0-split-1``.

    Names of rows and tests have no hyphen, so no two curves share a name.
    """
    for key, curve in curves.groupby(list(KEY), dropna=False, sort=False):
        named = zip(KEY, key, strict=True)
        parts = [
            f"{field}-{value}" if field in ("seed", "split") else value
            for field, value in named
            if isinstance(value, str)  # pretraining has no test and no split
        ]
        yield "-".join(parts), curve
