"""Stage ``pretrain``: train an encoder by a method's pretext task, without labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from videossl import distributed
from videossl.data.loading.loader import Batch, TrainBatches
from videossl.data.motion.store import MotionStore
from videossl.data.shards.store import ClipStore
from videossl.job import Job, UserError, write_json
from videossl.methods.base import Method, MomentumEncoder
from videossl.models import weights
from videossl.models.batchnorm import synchronise
from videossl.study.schema import NO_MOTION, Pretrain
from videossl.train import curve, monitor
from videossl.train.device import device
from videossl.train.loop import Recipe, Task, fit

if TYPE_CHECKING:
    from videossl.study.params import PretrainParams


class Pretraining(Task):
    """A method, for the loop."""

    def __init__(
        self,
        method: Method,
        measure: Callable[[nn.Module], float] | None = None,
        monitor_epochs: int = 0,
    ) -> None:
        self.module: Method = method
        self.features = monitor.Features(method.encoder)
        self.measure, self.monitor_epochs = measure, monitor_epochs

    def prepare(self, clips: list[Tensor], batch: Batch) -> list[Tensor]:
        """What the method makes of them without its networks."""
        return self.module.prepare(clips, batch.labels)

    def step(
        self, clips: list[Tensor], batch: Batch, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """One step of the pretext task; labels stay unused."""
        return self.module.training_step(clips, batch.video, backward, batch.labels)

    def after_step(self, progress: float) -> None:
        """Targets and queues move on."""
        self.module.after_step(progress)

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """How spread the features are, and what the monitor says where its turn is.

        Raises:
            UserError: they have collapsed.
        """
        spread = self.features.spread()
        if not spread > monitor.COLLAPSED:
            raise UserError(
                f"the features have collapsed in epoch {epoch} (feature_std = {spread:.2g}): all "
                "videos look alike to the encoder; a lower optimizer.lr may help"
            )
        row = {"feature_std": spread}
        if self.measure is not None and self.monitor_epochs and epoch % self.monitor_epochs == 0:
            row["neighbour_accuracy"] = self.measure(self.module.encoder)
        return row


def run(job: Job, params: PretrainParams) -> None:
    """Write ``encoder.safetensors``, ``curve.tsv`` and ``metrics.json``.

    Raises:
        UserError: the method needs more frames than any training video has, or fewer videos than
            one batch are there.
    """
    torch.set_num_threads(job.threads)
    with distributed.joined():
        _run(job, params)


def _run(job: Job, params: PretrainParams) -> None:
    store = ClipStore(job.input("shards"))
    videos = store.members(params.split, "train")
    # the encoder first: with equal seeds every method and the scratch row start from equal weights
    torch.manual_seed(params.seed)
    encoder = job.modules["backbone"].build(params.model)
    pretext = job.modules["method"]
    name = job.who["method"]
    needed = params.method.needs.reach(params.method, params.task, params.clip).frames
    longest = max(store.videos[v].frames for v in videos)
    if needed > longest:
        raise UserError(
            f"methods.{name}: needs {needed} frames of a video, and the longest training video of "
            f"{params.pretrain.dataset} has {longest}; a lower clip.stride needs fewer"
        )
    spec = params.pretrain
    if len(videos) < spec.batch_size:
        raise UserError(
            f"pretrain.batch_size = {spec.batch_size}: {spec.dataset} has only {len(videos)} "
            f"training videos in split {params.split}"
        )
    method = pretext.build(params.method, params.task, params.clip, encoder)
    _spread(method, spec)
    motion = None
    if params.method.motion != NO_MOTION:
        motion = MotionStore(job.input("motion"))
        motion.check(store)
    batches = TrainBatches(
        store, videos, method.requests, spec.augment, spec.batch_size, params.seed, motion
    )
    recipe = Recipe(
        params.method.optimizer,
        spec.epochs,
        spec.warmup_epochs,
        params.clip.size,
        spec.precision,
        params.seed,
        spec.accumulate,
    )
    watch = monitor.neighbour_accuracy(store, videos, params.clip, spec.batch_size, job.threads)
    task = Pretraining(method, watch, spec.monitor_epochs)
    rows = fit(job, task, batches, recipe)
    if distributed.rank():
        return
    weights.save(method.encoder, params.model, job.out / "encoder.safetensors")
    curve.write(rows, job.out / "curve.tsv")
    write_json(job.out / "metrics.json", {"videos": len(videos), **rows[-1]})


def _spread(method: Method, spec: Pretrain) -> None:
    """Prepare a method for several ranks, and for the compiler."""
    if distributed.active() and spec.sync_bn:
        synchronise(method, device())
    elif distributed.active():
        for module in method.modules():
            if isinstance(module, MomentumEncoder):
                module.shuffle = True
    if spec.compile:
        torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs as it is
        for module in list(method.modules()):
            if type(module) is type(method.encoder):
                module.compile()
