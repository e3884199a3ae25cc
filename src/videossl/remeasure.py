"""``videossl metrics``: metrics once more from stored predictions, with bootstrap intervals.

Takes no GPU and neither features nor videos. The interval of a metric is of the percentiles 2.5 and
97.5 of its values over samples of the test examples, drawn with replacement (Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, section 13.3). It says how far the choice of test examples
moves a number; seeds and splits are apart, a line each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import examples as tables
from videossl.downstream import metrics, weighted
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.downstream.weighted import OfSamples
from videossl.job import UserError
from videossl.report import inputs
from videossl.study import grouped, records
from videossl.study.graph import Graph
from videossl.study.registry import PROTOCOLS
from videossl.study.stages import Instance, instance

Measure = Callable[[Predictions], tuple[Values, Totals]]
COLUMNS = ("row", "test", "protocol", "seed", "split", "metric", "value", "low", "high", "n")
TAIL = 0.025
CELLS = 2**22  # how often a sample holds an example or a box, of samples that are measured at once
NEAR = 1e-6  # values are stored in single precision


@dataclass(frozen=True)
class Measured:
    """A metric of one row, test, protocol, seed and split: its value and a 95 % interval."""

    node: Instance
    protocol: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    stored: float  # what metrics.json says

    @property
    def agrees(self) -> bool:
        """Whether the stored value is what its predictions give."""
        return abs(self.value - self.stored) <= NEAR

    @property
    def cells(self) -> tuple[str, ...]:
        """As ``COLUMNS``."""
        key = dict(self.node.key)
        numbers = (f"{x:.4f}" for x in (self.value, self.low, self.high))
        what = (key["row"], key["test"], self.protocol, key["seed"], key["split"], self.metric)
        return (*what, *numbers, str(self.n))


def measured(graph: Graph, samples: int) -> Iterator[Measured]:
    """Every metric of the study whose predictions are there, in reading order.

    Raises:
        UserError: an output is damaged.
    """
    for node in graph.instances:
        if node.stage not in ("test", "evaluate"):
            continue
        folder = grouped.made(graph, node)
        if folder is not None:
            records.check(folder)
            yield from _of(graph, node, folder, samples)


def _of(graph: Graph, node: Instance, folder: Path, samples: int) -> Iterator[Measured]:
    record = inputs.read_json(folder / "metrics.json")
    predictions = _predictions(folder / metrics.PREDICTIONS)
    measure = measure_of(graph, node)
    values, totals = measure(predictions)
    found = {name: float(value.mean(dtype=np.float64)) for name, value in values.items()} | totals
    seed = [int(dict(node.key)["seed"]), int(dict(node.key)["split"])]
    intervals = bootstrap(predictions, measure, samples, np.random.default_rng(seed))
    for name, value in found.items():
        stored = record["metrics"].get(name, float("nan"))
        n = len(predictions["examples"])
        yield Measured(node, record["protocol"], name, value, *intervals[name], n, stored)


def bootstrap(
    predictions: Predictions, measure: Measure, samples: int, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Metric -> the ends of its interval, over ``samples`` samples of the examples.

    Examples of a sample are in the order of the test part, each as often as it was drawn: what is
    equal is ranked as it is there. A metric that a sample does not define, such as one of classes
    that it lacks, leaves it out.
    """
    count = len(predictions["examples"])
    values, totals = measure(predictions)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*values, *totals)}
    quick = _quick(predictions, totals)
    rows = max([count, *(max(x.shape[:2]) for x in predictions.values() if x.ndim > 1)])
    for part in range(0, samples, step := max(1, CELLS // rows)):
        counts = np.empty((count, min(step, samples - part)), np.int32)
        for sample in range(counts.shape[1]):
            counts[:, sample] = np.bincount(rng.integers(count, size=count), minlength=count)
        for name, value in values.items():
            drawn[name].append(value.astype(np.float64) @ counts / count)
        for name, of_samples in quick.items():
            drawn[name].append(of_samples(counts))
        slow = totals.keys() - quick.keys()
        for sample in counts.T if slow else ():
            picks = np.repeat(np.arange(count), sample)
            again = measure(metrics.resampled(predictions, picks))[1]
            for name in slow:
                drawn[name].append(np.array([again[name]]))
    return {name: _ends(np.concatenate([np.empty(0), *found])) for name, found in drawn.items()}


def _quick(predictions: Predictions, totals: Totals) -> dict[str, OfSamples]:
    """What measures all samples at once, of metrics whose own value it gives, too."""
    found = {name: weighted.TOTALS[name](predictions) for name in totals if name in weighted.TOTALS}
    once = np.ones((len(predictions["examples"]), 1), np.int32)
    return {
        name: of for name, of in found.items() if np.isclose(of(once)[0], totals[name], 0, 1e-9)
    }


def _ends(found: NDArray[np.float64]) -> tuple[float, float]:
    defined = found[np.isfinite(found)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [TAIL, 1 - TAIL])
    return float(low), float(high)


def _predictions(path: Path) -> Predictions:
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def measure_of(graph: Graph, node: Instance, folder: Path = Path()) -> Measure:
    """What computes the metrics of an instance from its predictions, of a study in ``folder``."""
    key = dict(node.key)
    if node.stage == "evaluate":
        module = import_module(PROTOCOLS[key["protocol"]].module)
        spec = getattr(graph.params.probe[key["test"]], key["protocol"])
        return lambda predictions: module.measure(predictions, spec)
    objective = _objective(graph, graph.modules(node)["objective"], key["test"], folder)
    views = graph.params.finetune[key["test"]].test
    return lambda predictions: objective.measure(predictions, views)


@cache
def _objective(graph: Graph, module: str, test: str, study: Path) -> Any:
    """The objective of a test, which one instance serves for all."""
    folder = grouped.made(graph, instance("select", "finetune", test), study)
    if folder is None:
        raise UserError(f"finetune.{test}: its examples are not there; run the workflow again")
    records.check(folder)
    return import_module(module).build(tables.read(folder))


def report(graph: Graph, samples: int) -> tuple[str, str, bool]:
    """A line per metric, the same as CSV, and whether all stored values are as predictions give.

    Raises:
        UserError: nothing is there yet, or an output is damaged.
    """
    found = list(measured(graph, samples))
    if not found:
        raise UserError("metrics: no predictions of this study are there; run the workflow first")
    rows = [COLUMNS, *(one.cells for one in found)]
    csv = "".join(f"{','.join(row)}\n" for row in rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    wrong = [
        f"{one.node}: {one.metric} is stored as {one.stored:g}, its predictions give {one.value:g}"
        for one in found
        if not one.agrees
    ]
    return "\n".join(line.rstrip() for line in [*lines, *wrong]), csv, not wrong
