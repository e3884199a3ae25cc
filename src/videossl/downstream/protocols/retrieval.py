"""Protocol ``retrieval``: test videos search the training videos by cosine.

R@k is the share of test videos with a video of their class among the k nearest (RSPNet,
supplement B; VCOP, Xu et al., CVPR 2019). Every training video is in the gallery, embedded from
the same deterministic clips as the queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from videossl.downstream import examples, features, metrics
from videossl.job import Job
from videossl.study.schema import Retrieval

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams


def run(job: Job, params: EvaluateParams) -> None:
    """Write the nearest training videos of every test video, and R@k."""
    spec = params.protocol
    assert isinstance(spec, Retrieval)
    found = examples.read(job.input("examples"))
    train, test = features.load(job.input("features"), found, job.split)
    similarity = features.unit(test.features) @ features.unit(train.features).T
    depth = min(max(spec.topk), similarity.shape[1])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    values = metrics.recall(train.labels[nearest], test.labels, spec.topk)
    metrics.write(job, "retrieval", test.examples, values, labels=test.labels, neighbours=nearest)
