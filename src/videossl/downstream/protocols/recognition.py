"""Protocol ``recognition``: the fine-tuned classifier on several clips of each test video.

The video's score is the mean of its clips' softmax scores, as in STS (Wang et al., TPAMI 2021)
and most later work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from videossl.data.shards.store import ClipStore
from videossl.downstream import metrics
from videossl.job import Job
from videossl.models import weights
from videossl.models.classifier import Classifier
from videossl.study.schema import Recognition
from videossl.train.device import pick_device, place
from videossl.train.inference import per_clip

if TYPE_CHECKING:
    from videossl.study.params import RecognitionParams


def run(job: Job, params: RecognitionParams) -> None:
    """Write the scores of every test video, and top-k accuracy."""
    torch.set_num_threads(job.threads)
    spec: Recognition = params.protocol
    store = ClipStore(job.input("shards"))
    videos = store.members(params.split, "test")
    model = Classifier(job.modules["backbone"].build(params.model), len(store.classes), 0.0)
    weights.load(model, job.input("classifier") / "classifier.safetensors")
    device = pick_device()
    place(model, device)
    logits = per_clip(
        model, store, videos, params.clip, spec.clips, spec.batch_size, device, job.threads
    )
    scores = torch.from_numpy(logits).softmax(-1).mean(dim=1).numpy()
    labels = np.array([store.videos[v].label for v in videos], dtype=np.int64)
    ks = [k for k in spec.topk if k <= len(store.classes)]
    found = metrics.topk(scores, labels, ks)
    metrics.write(job, params.split, params.seed, found, labels=labels, scores=scores)
