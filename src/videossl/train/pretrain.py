"""Stage ``pretrain``: train an encoder by a method's pretext task, without labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from videossl import distributed
from videossl.data.loading.loader import Batch, TrainBatches
from videossl.data.motion.store import MotionStore
from videossl.data.shards.store import ClipStore
from videossl.job import Job, UserError, write_json
from videossl.methods.base import Method, MomentumEncoder
from videossl.models import weights
from videossl.models.backbone import Backbone
from videossl.models.batchnorm import Group, apply_groups
from videossl.study.schema import NO_MOTION, Pretrain
from videossl.train import curve, first_batch, monitor
from videossl.train.device import pick_device
from videossl.train.loop import Recipe, fit
from videossl.train.task import Task

if TYPE_CHECKING:
    from videossl.study.reads import PretrainParams


class Pretraining(Task):
    """A method, for the loop."""

    def __init__(
        self,
        method: Method,
        measure: Callable[[nn.Module], float] | None = None,
        monitor_epochs: int = 0,
    ) -> None:
        self.module: Method = method
        self.colours = cast(Backbone, method.encoder).colours
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
        """Momentum encoders and queues move on."""
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
    """Write ``encoder.safetensors``, ``curve.tsv``, ``batch.npz`` and ``metrics.json``.

    Raises:
        UserError: the method needs more frames than any training video has, or fewer videos than
            one batch are there.
    """
    with distributed.joined():
        _run(job, params)


def training_videos(store: ClipStore, split: int) -> list[int]:
    """The videos to pretrain on: the training part of a split; all, of a dataset without parts.

    Raises:
        UserError: the split has other parts only.
    """
    parts = {part for video in store.videos for part in video.splits.values()}
    if parts <= {"all"}:
        return list(range(len(store.videos)))
    return store.members(split, "train")


def _run(job: Job, params: PretrainParams) -> None:
    spec, clip = params.pretrain, params.pretrain.clip
    store = ClipStore(job.input("shards"))
    videos = training_videos(store, spec.split)
    # the encoder first: with equal seeds every method and the scratch row start from equal weights
    torch.manual_seed(job.seed)
    encoder = weights.build(params.backbone)
    pretext = job.modules["method"]
    row, dataset = job.key["row"], params.method.data
    motion = None
    if params.method.motion != NO_MOTION:
        motion = MotionStore(job.input("motion"))
        motion.check(store)
        without = motion.missing(store)
        videos = [video for video in videos if store.videos[video].name not in without]
        if without:
            print(f"{job.name}: {len(without)} videos have no motion: left out", flush=True)
    needed = params.method.needs.reach(params.method, params.task, clip).frames
    longest = max(store.videos[v].frames for v in videos)
    if needed > longest:
        raise UserError(
            f"methods.{row}: needs {needed} frames of a video, and the longest training video of "
            f"{dataset} has {longest}; a lower clip.stride needs fewer"
        )
    if len(videos) < spec.batch_size:
        raise UserError(
            f"pretrain.{params.method.pretrain}.batch_size = {spec.batch_size}: {dataset} has only "
            f"{len(videos)} training videos in split {spec.split}"
        )
    method = pretext.build(params.method, params.task, clip, encoder)
    _spread(method, spec, params.method.bn_group)
    batches = TrainBatches(
        store, videos, method.requests, spec.augment, spec.batch_size, job.seed, motion
    )
    recipe = Recipe(
        params.optimizer, spec.epochs, clip.size, spec.precision, job.seed, spec.accumulate
    )
    watch = monitor.neighbour_accuracy(store, videos, clip, spec.batch_size, job.threads)
    if watch is None and spec.monitor_epochs:
        print(f"{job.name}: {dataset} has no classes, so there is no monitor", flush=True)
    task = Pretraining(method, watch, spec.monitor_epochs)
    if not distributed.rank():
        first_batch.write(method, batches, clip.size, task.colours, job.out / first_batch.FILE)
    rows = fit(job, task, batches, recipe)
    if distributed.rank():
        return
    weights.save(method.encoder, params.backbone, job.out / "encoder.safetensors")
    curve.write(rows, job.out / "curve.tsv")
    write_json(job.out / "metrics.json", {"videos": len(videos), **rows[-1]})


def _spread(method: Method, spec: Pretrain, bn_group: Group) -> None:
    """Prepare a method for groups of batch norm, for several ranks, and for the compiler.

    Raises:
        UserError: the groups do not divide the batch.
    """
    rows = spec.batch_size // (spec.accumulate * distributed.world())
    several = apply_groups(method, bn_group, pick_device(), rows)
    if several and bn_group != "all":
        for module in method.modules():
            if isinstance(module, MomentumEncoder):
                module.shuffle_over(bn_group)
    if spec.compile:
        compile_networks(method)


def compile_networks(method: Method) -> None:
    """Compile a method's encoder, and its momentum encoder if it has one, each as a whole."""
    torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs as it is
    for module in list(method.modules()):
        if type(module) is type(method.encoder):
            module.compile()
