"""Protocol ``knn``: weighted vote of the nearest training videos by cosine.

Each of the k neighbours votes for its label with exp(cosine / temperature) (Wu et al., CVPR 2018,
section 3.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import examples, features, metrics
from videossl.job import Job
from videossl.study.schema import KNN

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def vote(
    train: features.Part, queries: NDArray[np.float32], neighbours: int, temperature: float
) -> NDArray[np.float64]:
    """Votes (N, classes) for each of (N, D) queries."""
    similarity = features.unit(queries) @ features.unit(train.features).T
    k = min(neighbours, similarity.shape[1])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
    weight = np.exp((best - best[:, :1]) / temperature)  # relative to the nearest: no overflow
    votes = np.zeros((len(queries), int(train.labels.max()) + 1))
    rows = np.repeat(np.arange(len(queries)), k)
    np.add.at(votes, (rows, train.labels[nearest].ravel()), weight.ravel())
    return votes


def run(job: Job, params: EvaluateParams) -> None:
    """Write the votes for every test video, and top-1 accuracy."""
    spec = params.protocol
    assert isinstance(spec, KNN)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    scores = vote(train, test.features, spec.neighbours, spec.temperature)
    values = metrics.topk(scores, test.labels, [1])
    metrics.write(job, "knn", test.examples, values, labels=test.labels, scores=scores)
