"""The results of all tests: a line per seed, split and metric, and samples of them per column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from videossl.job import UserError
from videossl.report.inputs import Folder
from videossl.report.noise import Sample, pool

if TYPE_CHECKING:
    from videossl.report.layout import Group, Row

COLUMNS = (
    "row", "method", "backbone", "test", "form", "dataset", "labels", "protocol",
    "seed", "split", "metric", "value", "n",
)  # fmt: skip
PREDICTIONS = "predictions.npz"


@dataclass(frozen=True)
class Evaluation:
    """One ``metrics.json``: a row tested once, by one protocol, seed and split."""

    row: str
    form: str
    test: str
    protocol: str
    seed: int
    split: int
    n: int  # test examples
    metrics: dict[str, float]
    path: Path

    @property
    def group(self) -> tuple[str, str, str]:
        """The group of columns that it belongs to."""
        return self.form, self.test, self.protocol

    def by_example(self, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """(n,) numbers of the test examples and the metric's value for each.

        ``None`` if the protocol stored no predictions, or the metric is no mean over examples.

        Raises:
            UserError: the predictions are damaged.
        """
        found = self.predictions("examples", f"value.{metric}")
        if found is None:
            return None
        examples, values = found
        if not examples.shape == values.shape == (self.n,):
            raise UserError(
                f"{self.path / PREDICTIONS}: examples of shape {examples.shape} and value.{metric} "
                f"of shape {values.shape}: both must be ({self.n},), the n of metrics.json"
            )
        return examples, values

    def predictions(self, *names: str) -> list[NDArray[Any]] | None:
        """Stored arrays by their names; ``None`` if the protocol did not store all of them.

        Raises:
            UserError: the predictions are damaged.
        """
        path = self.path / PREDICTIONS
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file) as stored:
                return [stored[n] for n in names] if {*names} <= {*stored.files} else None
        except (OSError, ValueError, BadZipFile) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None


def read(folders: Iterable[Folder]) -> list[Evaluation]:
    """What was measured, in the order given.

    Raises:
        UserError: a ``metrics.json`` lacks a field.
    """
    return [_evaluation(folder) for folder in folders]


def _evaluation(folder: Folder) -> Evaluation:
    record = folder.json("metrics.json")
    names = ("row", "form", "test", "protocol", "seed", "split", "n", "metrics")
    absent = [name for name in names if name not in record]
    if absent:
        raise UserError(f"{folder.path / 'metrics.json'}: has no {', '.join(absent)}")
    return Evaluation(**{name: record[name] for name in names}, path=folder.path)


def by_place(
    evaluations: Iterable[Evaluation],
) -> dict[tuple[str, tuple[str, str, str]], list[Evaluation]]:
    """Row and key of a group -> all that was measured there."""
    found: dict[tuple[str, tuple[str, str, str]], list[Evaluation]] = {}
    for one in evaluations:
        found.setdefault((one.row, one.group), []).append(one)
    return found


def long_form(
    evaluations: Sequence[Evaluation], rows: Sequence[Row], groups: Sequence[Group]
) -> pd.DataFrame:
    """One line per row, test, protocol, seed, split and metric, in reading order."""
    places = by_place(evaluations)
    lines: list[tuple[Any, ...]] = []
    for row in rows:
        for group in groups:
            found = places.get((row.name, group.key), [])
            who = (row.name, row.method, row.backbone, group.test, group.form)
            what = (group.dataset, group.labels, group.protocol)
            lines += [
                (*who, *what, one.seed, one.split, metric, one.metrics[metric], one.n)
                for one in sorted(found, key=lambda one: (one.seed, one.split))
                for metric in ordered_metrics(one.metrics)
            ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def ordered_metrics(names: Iterable[str]) -> list[str]:
    """Metrics by first appearance of their stem, then by number: R@1, R@5, R@10."""
    stems: dict[str, int] = {}
    keys: dict[str, tuple[int, int]] = {}
    for name in names:
        stem = name.rstrip("0123456789")
        number = int(name[len(stem) :] or 0)
        keys.setdefault(name, (stems.setdefault(stem, len(stems)), number))
    return sorted(keys, key=keys.__getitem__)


def sample(evaluations: Sequence[Evaluation], metric: str) -> tuple[Sample, int]:
    """One row's results in one column, and how many distinct test examples they are over.

    Examples of several splits count once where predictions name them; seeds never count twice.
    """
    seeds: dict[int, list[float]] = {}
    counts: dict[int, int] = {}  # split -> test examples
    for one in evaluations:
        seeds.setdefault(one.seed, []).append(one.metrics[metric])
        counts[one.split] = one.n
    by_seed = tuple(sum(values) / len(values) for _, values in sorted(seeds.items()))
    stored = [one.by_example(metric) for one in evaluations]
    present = [pair for pair in stored if pair is not None]
    if len(present) < len(stored):
        return Sample(by_seed), sum(counts.values())
    examples, values = pool([pair[0] for pair in present], [pair[1] for pair in present])
    return Sample(by_seed, examples, values), len(examples)
