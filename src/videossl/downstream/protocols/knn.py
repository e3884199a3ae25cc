"""Protocol ``knn``: weighted vote of the nearest training videos by cosine.

Each of the k neighbours votes for its label with exp(cosine / temperature) (Wu et al., CVPR 2018,
section 3.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import examples, features, metrics
from videossl.downstream import neighbours as search
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.job import Job
from videossl.study.schema import KNN

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def vote(
    gallery: NDArray[np.float32],
    labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    neighbours: int,
    temperature: float,
    classes: int,
) -> NDArray[np.float64]:
    """Votes (N, classes) for each of (N, D) queries; 0 for a class without a training video.

    Args:
        gallery: (M, D) features of the training videos.
        labels: (M,) their classes.
        queries: (N, D) features of the test videos.
        neighbours: how many vote; all M if that is fewer.
        temperature: of the weights.
        classes: how many there are, in the test part too.

    Raises:
        UserError: a feature is not finite.
    """
    nearest, cosine = search.nearest(queries, gallery, neighbours)
    best = cosine.astype(np.float64)
    weight = np.exp((best - best[:, :1]) / temperature)  # relative to the nearest: no overflow
    votes = np.zeros((len(queries), classes))
    rows = np.repeat(np.arange(len(queries)), nearest.shape[1])
    np.add.at(votes, (rows, labels[nearest].ravel()), weight.ravel())
    return votes


def measure(predictions: Predictions, spec: KNN) -> tuple[Values, Totals]:
    """Top-1, from predictions alone."""
    return metrics.topk(predictions["scores"], predictions["labels"], [1]), {}


def run(job: Job, params: EvaluateParams) -> None:
    """Write the votes for every test video, and top-1 accuracy."""
    spec = params.protocol
    assert isinstance(spec, KNN)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    scores = vote(
        train.features,
        train.labels,
        test.features,
        spec.neighbours,
        spec.temperature,
        len(found.classes),
    )
    made = {"labels": test.labels, "scores": scores}
    metrics.write(job, "knn", test.examples, *measure(made, spec), **made)
