"""Protocol ``retrieval``: test videos search the training videos by cosine.

R@k is the share of test videos with a video of their class among the k nearest (RSPNet,
supplement B; VCOP, Xu et al., CVPR 2019). Every training video is in the gallery, embedded from
the same deterministic clips as the queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from videossl.downstream import examples, features, metrics, neighbours
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.job import Job
from videossl.study.schema import Retrieval

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def measure(predictions: Predictions, spec: Retrieval) -> tuple[Values, Totals]:
    """R@k, from predictions alone."""
    return metrics.recall(predictions["neighbour_labels"], predictions["labels"], spec.topk), {}


def run(job: Job, params: EvaluateParams) -> None:
    """Write the nearest training videos of every test video, and R@k."""
    spec = params.protocol
    assert isinstance(spec, Retrieval)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    nearest, _ = neighbours.nearest(test.features, train.features, max(spec.topk))
    made = {
        "labels": test.labels,
        "neighbours": nearest,  # rows of the training part
        "neighbour_labels": train.labels[nearest],
    }
    metrics.write(job, "retrieval", test.examples, *measure(made, spec), **made)
