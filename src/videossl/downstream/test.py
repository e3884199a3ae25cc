"""Stage ``test``: predict with a fine-tuned network on several clips of each test example.

Testing is deterministic. Predictions are written first, and metrics are computed from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from videossl.data.shards.store import ClipStore
from videossl.downstream import examples, metrics
from videossl.job import Job
from videossl.models import weights
from videossl.train.device import pick_device, place
from videossl.train.inference import per_clip

if TYPE_CHECKING:
    from videossl.study.reads import TestParams


def run(job: Job, params: TestParams) -> None:
    """Write the scores of every test example, and the metrics of the objective."""
    spec, objective = params.test, job.modules["objective"]
    chosen = examples.read(job.input("examples"))
    store = ClipStore(job.input("shards"))
    numbers = chosen.part(job.split, "test")
    path = job.input("classifier") / "classifier.safetensors"
    encoder = weights.build(weights.backbone_of(path))
    model = objective.build(encoder, chosen, 0.0)
    weights.load(model, path)
    place(model, pick_device())
    videos = chosen.stored(store, numbers)
    outputs = per_clip(
        model, store, videos, params.clip, spec.clips, spec.batch_size, job.threads, encoder.colours
    )
    scores = objective.predict(outputs)
    labels = chosen.targets[numbers]
    values = objective.measure(scores, labels, spec.topk)
    metrics.write(job, objective.PROTOCOL, numbers, values, labels=labels, scores=scores)
