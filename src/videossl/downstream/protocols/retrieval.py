"""Protocol ``retrieval``: test videos search the training videos by cosine.

R@k is the share of test videos with a video of their class among the k nearest (RSPNet,
supplement B; VCOP, Xu et al., CVPR 2019). Every training video is in the gallery, embedded from
the same deterministic clips as the queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from videossl.downstream import features, metrics
from videossl.job import Job
from videossl.study.schema import Retrieval

if TYPE_CHECKING:
    from videossl.study.params import FrozenParams


def run(job: Job, params: FrozenParams) -> None:
    """Write the nearest training videos of every test video, and R@k."""
    spec = params.protocol
    assert isinstance(spec, Retrieval)
    train, test = features.load(job.input("features") / "features.safetensors")
    similarity = features.unit(test.features) @ features.unit(train.features).T
    depth = min(max(spec.topk), similarity.shape[1])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    found = metrics.recall(train.labels[nearest], test.labels, spec.topk)
    metrics.write(job, params.split, params.seed, found, labels=test.labels, neighbours=nearest)
