"""Protocol ``linear``: logistic regression on frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import average_precision, examples, features, metrics
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.job import Job, UserError
from videossl.study.schema import Linear

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams

Floats = NDArray[np.floating[Any]]


def fit(
    train: NDArray[np.float32],
    labels: NDArray[Any],
    test: NDArray[np.float32],
    classes: Sequence[str],
    spec: Linear,
) -> NDArray[np.float64]:
    """Scores (N, classes) of the test examples.

    Multinomial logistic regression for labels of one class each; of several classes, one against
    the rest for each. By L-BFGS, in float32 on the features as they lie: **both arrays of features
    are overwritten** by their standardised values. Besides them it takes a few arrays of
    (M, classes).

    Args:
        train: (M, D) features of the training examples.
        labels: (M,) int64, their classes; or (M, classes) bool, whether they have each.
        test: (N, D) features of the test examples.
        classes: their names, of those in the test part too.
        spec: inverse strength (C of scikit-learn), and how it is solved.

    Returns:
        For a class without a training example -inf; of labels of several classes, for one that no
        or every training example has, 0.

    Raises:
        UserError: the training examples do not differ in any class.
    """
    features.standardise(train, test)
    if labels.ndim == 2:
        told = np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0))
        if not len(told):
            raise UserError(
                f"linear: no class tells the {len(labels)} training examples apart; a linear probe "
                "needs one"
            )
        scores = np.zeros((len(test), len(classes)))
        scores[:, told] = _solve(train, labels[:, told], test, spec)
        return scores
    there, places = np.unique(labels, return_inverse=True)
    if len(there) < 2:
        raise UserError(
            f"linear: all {len(labels)} training videos are of class {classes[there[0]]}; "
            "a linear probe needs at least two classes"
        )
    scores = np.full((len(test), len(classes)), -np.inf)
    if len(there) == 2:  # as scikit-learn has it: one margin, that of the second
        margin = _solve(train, places[:, None] == 1, test, spec)
        scores[:, there] = np.concatenate([-margin, margin], axis=1)
    else:
        scores[:, there] = _solve(train, places, test, spec)
    return scores


def _solve(
    train: NDArray[np.float32], target: NDArray[Any], test: NDArray[np.float32], spec: Linear
) -> Floats:
    """Scores (N, K) for classes (M,) 0 to K - 1 that exclude one another, or for (M, K) bools."""
    if spec.solver == "batched":
        from videossl.downstream import logistic  # torch, which takes longer than the other solver

        steps, scores = logistic.scores(train, target, test, spec.regularization, spec.iterations)
    else:
        columns = [target] if target.ndim == 1 else list(target.T)
        made = [_scikit_learns(train, column, test, spec) for column in columns]
        steps = max(n for n, _ in made)
        scores = np.concatenate([found for _, found in made], axis=1)
    if steps >= spec.iterations:
        print(f"linear: not converged after {spec.iterations} iterations", flush=True)
    return scores


def _scikit_learns(
    train: NDArray[np.float32], target: NDArray[Any], test: NDArray[np.float32], spec: Linear
) -> tuple[int, Floats]:
    from videossl.downstream.scikit import ConvergenceWarning, LogisticRegression

    model = LogisticRegression(C=spec.regularization, max_iter=spec.iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said in one line
        model.fit(train, target)
    return int(model.n_iter_.max()), model.decision_function(test).reshape(len(test), -1)


def measure(predictions: Predictions, spec: Linear) -> tuple[Values, Totals]:
    """Top-1, or mAP where examples have several classes, from predictions alone.

    Of examples that are about frames, whose classes are uneven, also macro averages.
    """
    labels, scores = predictions["labels"], predictions["scores"]
    if labels.ndim == 2:
        return {}, {"mAP": average_precision.of_videos(labels, scores)}
    totals = metrics.macro(labels, scores.argmax(axis=1)) if "frames" in predictions else {}
    return metrics.topk(scores, labels, [1]), totals


def run(job: Job, params: EvaluateParams) -> None:
    """Fit on the training part, write scores of the test part and what is measured of them."""
    spec = params.protocol
    assert isinstance(spec, Linear)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    labels = [train.labels, test.labels]
    if not isinstance(found.targets, np.ndarray):
        labels = [examples.several_hot(targets, len(found.classes)) for targets in labels]
    scores = fit(train.features, labels[0], test.features, found.classes, spec)
    made = {"labels": labels[1], "scores": scores}
    if found.frames is not None:
        made["frames"] = found.frames[test.examples]
    metrics.write(job, "linear", test.examples, *measure(made, spec), **made)
