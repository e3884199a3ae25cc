"""Protocol ``retrieval``: test videos search the training videos by cosine.

R@k is the share of test videos with a video of their class among the k nearest (RSPNet,
supplement B; VCOP, Xu et al., CVPR 2019). Every training video is in the gallery, embedded from
the same deterministic clips as the queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from videossl.job import Job
from videossl.schema import Retrieval
from videossl.tasks import features, measure

if TYPE_CHECKING:
    from videossl.params import FrozenParams


def run(job: Job, params: FrozenParams) -> None:
    """Write the nearest training videos of every test video, and R@k."""
    spec = params.protocol
    assert isinstance(spec, Retrieval)
    train, test = features.load(job.input("features") / "features.safetensors")
    similarity = features.unit(test.features) @ features.unit(train.features).T
    depth = min(max(spec.topk), similarity.shape[1])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    metrics = measure.recall(train.labels[nearest], test.labels, spec.topk)
    measure.write(job, params.split, params.seed, metrics, labels=test.labels, neighbours=nearest)
