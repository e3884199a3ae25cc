"""Stage ``test``: predict with a fine-tuned network on several views of each test example.

Testing is deterministic. Predictions are written first, and metrics are computed from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from videossl.data.loading.example_batches import Chosen, ViewBatches
from videossl.data.shards.store import ClipStore
from videossl.downstream import examples, metrics, occlusion
from videossl.downstream.objective import Objective
from videossl.job import Job
from videossl.models import weights
from videossl.train.device import pick_device, place
from videossl.train.inference import outputs_of

if TYPE_CHECKING:
    from videossl.study.reads import TestParams


def run(job: Job, params: TestParams) -> None:
    """Write the predictions for every test example, and the metrics of the objective.

    And for some, if one class is told of a whole clip, where the network looks: see ``occlusion``.
    """
    spec = params.test
    found = examples.read(job.input("examples"))
    store = ClipStore(job.input("shards"))
    numbers = found.part(job.split, "test")
    objective: Objective = job.modules["objective"].build(found.knowing(numbers))
    objective.for_testing(spec)
    path = job.input("classifier") / "classifier.safetensors"
    encoder = weights.build(weights.backbone_of(path))
    model = objective.network(encoder, 0.0)
    weights.load(model, path)
    place(model, pick_device())
    frames = None if found.frames is None else found.frames[numbers]
    videos = found.stored(store, numbers)
    chosen = Chosen(numbers, videos, frames, objective.whole, params.clip, params.sampling)
    views = ViewBatches(store, chosen, spec.clips, spec.crops, spec.batch_size)
    outputs = outputs_of(model, views, job.threads, encoder.colours, objective.forward)
    predictions = objective.predictions(outputs, numbers, spec)
    values, totals = objective.measure(predictions, spec)
    metrics.write(job, objective.protocol, numbers, values, totals, **predictions)
    if objective.occluded:
        labels = found.targets_of(numbers)
        occlusion.write(model, store, chosen, labels, spec.batch_size, encoder.colours, job.out)
