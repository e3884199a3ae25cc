"""Protocol ``linear``: logistic regression on frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from videossl.downstream import examples, features, metrics
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.job import Job, UserError
from videossl.study.schema import Linear

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def standardise(train: NDArray[np.float32], *others: NDArray[np.float32]) -> None:
    """Shift and scale the columns, in place, so that those of ``train`` have mean 0, deviation 1.

    In blocks, computed in float64. A column that is constant but for rounding is only shifted.

    Args:
        train: (N, D).
        others: (any, D), shifted and scaled as ``train``.
    """
    step = features.block_rows(train.shape[1])
    blocks = [slice(start, start + step) for start in range(0, len(train), step)]
    mean = np.sum([train[b].sum(axis=0, dtype=np.float64) for b in blocks], axis=0) / len(train)
    squares = np.sum([np.square(train[b] - mean).sum(axis=0) for b in blocks], axis=0)
    deviation = np.sqrt(squares / len(train))
    deviation[deviation <= np.finfo(np.float32).eps * np.abs(mean)] = 1
    for x in (train, *others):
        for start in range(0, len(x), step):
            x[start : start + step] = (x[start : start + step] - mean) / deviation


def fit(
    train: NDArray[np.float32],
    labels: NDArray[np.int64],
    test: NDArray[np.float32],
    classes: Sequence[str],
    regularization: float,
    iterations: int,
) -> NDArray[np.float64]:
    """Scores (N, classes) of the test videos; -inf for a class without a training video.

    Multinomial logistic regression by L-BFGS, in float32 on the features as they lie: **both
    arrays of features are overwritten** by their standardised values. Besides them it takes a few
    arrays of (M, classes).

    Args:
        train: (M, D) features of the training videos.
        labels: (M,) their classes.
        test: (N, D) features of the test videos.
        classes: their names, of those in the test part too.
        regularization: inverse strength, C of scikit-learn.
        iterations: at most; a line says if they were too few.

    Raises:
        UserError: the training videos are all of one class.
    """
    there = np.unique(labels)
    if len(there) < 2:
        raise UserError(
            f"linear: all {len(labels)} training videos are of class {classes[there[0]]}; "
            "a linear probe needs at least two classes"
        )
    standardise(train, test)
    model = LogisticRegression(C=regularization, max_iter=iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said in one line below
        model.fit(train, labels)
    if model.n_iter_.max() >= iterations:
        print(f"linear: not converged after {iterations} iterations", flush=True)
    known = model.decision_function(test)
    if known.ndim == 1:  # two classes: one column, the margin of the second
        known = np.stack([-known, known], axis=1)
    scores = np.full((len(test), len(classes)), -np.inf)
    scores[:, model.classes_] = known
    return scores


def measure(predictions: Predictions, spec: Linear) -> tuple[Values, Totals]:
    """Top-1, from predictions alone."""
    return metrics.topk(predictions["scores"], predictions["labels"], [1]), {}


def run(job: Job, params: EvaluateParams) -> None:
    """Fit on the training part, write scores of the test part and top-1 accuracy."""
    spec = params.protocol
    assert isinstance(spec, Linear)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    scores = fit(
        train.features,
        train.labels,
        test.features,
        found.classes,
        spec.regularization,
        spec.iterations,
    )
    made = {"labels": test.labels, "scores": scores}
    metrics.write(job, "linear", test.examples, *measure(made, spec), **made)
