"""Protocol ``leave_one_out``: a linear SVM tests each example after training on all others.

Of dynamic scenes (YUPENN, Maryland), as Tran et al., "Learning Spatiotemporal Features with 3D
Convolutional Networks", ICCV 2015, and Wang et al., CVPR 2019 (STS), have it: mean features of a
video's clips, brought to unit length, a linear SVM, one video left out at a time. They do not say
C, nor how two-class machines are joined; here they are LIBSVM's, one class against one (our
interpretation). Where features say nothing, it is less than chance: the class of the one that is
left out is the rarest of those that are trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import examples, features, metrics
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.downstream.scikit import SVC
from videossl.job import Job, UserError
from videossl.progress import Progress
from videossl.study.schema import LeaveOneOut

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def left_out(
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    regularization: float,
    news: Progress | None = None,
) -> NDArray[np.float64]:
    """Scores (N, classes) of each example from the others; -inf for a class that these lack.

    The products of all examples are computed once, (N, N), so that each of the N fits is small
    however wide the features are. A score is the number of classes that a class wins against, ties
    told apart by the margins.

    Args:
        x: (N, D), brought to unit length here.
        labels: (N,).
        classes: how many there are.
        regularization: inverse strength, C of the machine.
        news: is told of each example.

    Raises:
        UserError: with one example left out, the others are all of one class.
    """
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) - (counts.min() == 1) < 2:
        raise UserError(
            f"leave_one_out: {len(labels)} examples of {len(counts)} classes; with any one of them "
            "left out, at least two classes are needed"
        )
    unit = features.unit(x).astype(np.float64)
    products = unit @ unit.T
    scores = np.full((len(x), classes), -np.inf)
    machine = SVC(kernel="precomputed", C=regularization)
    for number in range(len(x)):
        others = np.delete(np.arange(len(x)), number)
        machine.fit(products[np.ix_(others, others)], labels[others])
        known = machine.decision_function(products[number : number + 1, others])[0]
        if known.ndim == 0:  # two classes: one margin, that of the second
            known = np.array([-known, known])
        scores[number, machine.classes_] = known
        if news is not None:
            news.step()
    return scores


def measure(predictions: Predictions, spec: LeaveOneOut) -> tuple[Values, Totals]:
    """Top-1, from predictions alone."""
    return metrics.topk(predictions["scores"], predictions["labels"], [1]), {}


def run(job: Job, params: EvaluateParams) -> None:
    """Write the scores of every example, and top-1 accuracy."""
    spec = params.protocol
    assert isinstance(spec, LeaveOneOut)
    found = examples.read(job.input("examples"))
    part = features.load_all(job.input("features"), found, job.split)
    news = Progress(job.scratch, len(part.examples))
    scores = left_out(part.features, part.labels, len(found.classes), spec.regularization, news)
    made = {"labels": part.labels, "scores": scores}
    metrics.write(job, "leave_one_out", part.examples, *measure(made, spec), **made)
