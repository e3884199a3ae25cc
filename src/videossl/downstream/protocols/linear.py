"""Protocol ``linear``: logistic regression on frozen features."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from videossl.downstream import examples, features, metrics
from videossl.job import Job
from videossl.study.schema import Linear

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def run(job: Job, params: EvaluateParams) -> None:
    """Fit on the training part, write scores of the test part and top-1 accuracy."""
    spec = params.protocol
    assert isinstance(spec, Linear)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    scaler = StandardScaler().fit(train.features)
    model = LogisticRegression(
        C=spec.regularization, max_iter=spec.iterations, random_state=job.seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said in one line below
        model.fit(scaler.transform(train.features), train.labels)
    if model.n_iter_.max() >= spec.iterations:
        print(f"linear: not converged after {spec.iterations} iterations", flush=True)
    known = model.decision_function(scaler.transform(test.features))
    if known.ndim == 1:  # two classes: one column, the margin of the second
        known = np.stack([-known, known], axis=1)
    scores = np.full(
        (len(test.labels), int(max(train.labels.max(), test.labels.max())) + 1), -np.inf
    )
    scores[:, model.classes_] = known
    values = metrics.topk(scores, test.labels, [1])
    metrics.write(job, "linear", test.examples, values, labels=test.labels, scores=scores)
