"""Results to tables: of each labels of each dataset one, every row by every test and metric.

A number is the mean over seeds of the mean over splits. A share is 0 to 1 until it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from videossl.downstream import declarations
from videossl.report import layout, noise
from videossl.report.layout import Group, Row
from videossl.report.noise import wilson
from videossl.report.results import Evaluation, by_place, ordered_metrics, sample


@dataclass(frozen=True)
class Column:
    """One metric of one test and protocol."""

    group: Group
    metric: str

    @property
    def declared(self) -> declarations.Metric:
        """What its values mean."""
        return declarations.metric(self.metric)

    @property
    def title(self) -> str:
        """The metric for a reader; an arrow where smaller is better."""
        declared = self.declared
        return f"{declared.title} ↓" if declared.better == "low" else declared.title


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        sd: standard deviation over seeds; ``None`` with one seed.
        n: distinct test examples.
        interval: 95 % interval for the choice of test examples; ``None`` where none is declared.
        mark: ``best`` beyond noise, or ``level`` with the best.
        gain: difference to the baseline of the row; ``None`` where it has none, or where neither
            larger nor smaller is better.
    """

    value: float
    sd: float | None
    n: int
    interval: tuple[float, float] | None
    mark: noise.Mark | None
    gain: float | None


@dataclass(frozen=True)
class Table:
    """All numbers on one kind of labels of one dataset."""

    dataset: str
    labels: str
    title: str
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    cells: dict[tuple[str, Column], Cell]  # (name of the row, column)
    rules: dict[Column, noise.Rule]  # how the best of a column is told; not where a row is alone

    def of(self, group: Group) -> list[Column]:
        """The columns of a group; the first is the one that figures and tiles show."""
        return [column for column in self.columns if column.group == group]

    def group_title(self, group: Group) -> str:
        """The protocol; before it the test, where the table has several; after it, how many splits.

        The number of splits is said where there are several, because a number is their mean.
        """
        several = len({one.test for one in self.groups}) > 1
        title = f"{group.test}: {group.title}" if several else group.title
        return title if len(group.splits) == 1 else f"{title}, {len(group.splits)} splits"

    def leaders(self, column: Column) -> list[Row]:
        """The rows that are best, or level with the best: the best number first."""
        found = [row for row in self.rows if (row.name, column) in self.cells]
        if len(found) > 1:
            found = [row for row in found if self.cells[row.name, column].mark]
        sign = -1 if column.declared.better == "high" else 1
        return sorted(found, key=lambda row: sign * self.cells[row.name, column].value)

    @property
    def references(self) -> list[tuple[Row, list[Row]]]:
        """Each baseline that others are compared with, and those others."""
        return [
            (row, others)
            for row in self.rows
            if (others := [one for one in self.rows if one.baseline == row.name])
        ]


def build(
    evaluations: Sequence[Evaluation], rows: tuple[Row, ...], groups: Sequence[Group]
) -> list[Table]:
    """One table per dataset and kind of labels, in the order of the tests.

    Raises:
        LookupError: a metric is not declared.
        UserError: stored predictions are damaged.
    """
    places = by_place(evaluations)
    subjects = layout.subjects(groups)
    datasets = [dataset for dataset, _ in subjects]
    built = []
    for dataset, labels in subjects:
        own = tuple(g for g in groups if (g.dataset, g.labels) == (dataset, labels))
        title = dataset if datasets.count(dataset) == 1 else f"{dataset}, {labels}"
        cells: dict[tuple[str, Column], Cell] = {}
        rules: dict[Column, noise.Rule] = {}
        columns = []
        for group in own:
            found = {row.name: places.get((row.name, group.key), []) for row in rows}
            metrics = ordered_metrics(
                m for some in found.values() for one in some for m in one.metrics
            )
            for column in (Column(group, metric) for metric in metrics):
                columns.append(column)
                numbers, rule = _numbers(column, rows, found)
                cells |= {(name, column): cell for name, cell in numbers.items()}
                if len(numbers) > 1 and column.declared.better != "none":
                    rules[column] = rule
        built.append(Table(dataset, labels, title, rows, own, tuple(columns), cells, rules))
    return built


def _numbers(
    column: Column, rows: Sequence[Row], found: Mapping[str, Sequence[Evaluation]]
) -> tuple[dict[str, Cell], noise.Rule]:
    """The cells of a column by row, and the rule that tells its best."""
    samples: dict[str, noise.Sample] = {}
    counts: dict[str, int] = {}
    for name, evaluations in found.items():
        present = [one for one in evaluations if column.metric in one.metrics]
        if present:
            samples[name], counts[name] = sample(present, column.metric)
    better = column.declared.better
    verdict = noise.Verdict("largest", {}) if better == "none" else noise.judge(samples, better)
    cells = {}
    for row in rows:
        if row.name not in samples:
            continue
        one, n = samples[row.name], counts[row.name]
        reference = samples.get(row.baseline) if row.baseline is not None else None
        cells[row.name] = Cell(
            value=one.mean,
            sd=one.sd,
            n=n,
            interval=wilson(one.mean, n) if column.declared.interval == "wilson" else None,
            mark=verdict.marks.get(row.name),
            gain=None if reference is None or better == "none" else one.mean - reference.mean,
        )
    return cells, verdict.rule
