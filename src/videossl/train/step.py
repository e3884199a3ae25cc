"""One step of training, for the loop, for ``doctor`` and for the benchmarks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import torch
from torch import Tensor

from videossl import distributed
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import Batch
from videossl.job import UserError
from videossl.study.schema import Optimizer
from videossl.train import optim, schedule
from videossl.train import precision as bfloat16
from videossl.train.device import keep_freed_memory, pick_device, place
from videossl.train.prefetch import prefetch
from videossl.train.task import Task

Part = tuple[list[Tensor], Batch]  # what ``Task.prepare`` made of a batch, or of a part of it


class TrainingStep:
    """From a batch to moved weights.

    A step sets the rate, adds up the gradients of the batch's parts, averages them over ranks,
    clips them, moves the weights, and lets the task follow (targets, schedules), in this order.

    Args:
        task: what is trained; its module moves to the device, into train mode.
        spec: the optimiser, its rates and its limit on gradients.
        batch_size: videos in a batch, over all ranks and parts.
        total: steps of the whole training.
        per_epoch: steps of an epoch, for the warm-up.
        precision: ``float32`` or ``bfloat16``.
        size: side of the clips in pixels.
        accumulate: equal parts that a batch is worked on in; the gradient is the mean of theirs.
        seed: dropout and the like take their numbers from it and the number of the step.

    Attributes:
        device: where the step computes.
        optimizer: whose state belongs into a checkpoint.
        number: steps done.

    Raises:
        UserError: the precision gives wrong gradients on this device, or the warm-up is longer than
            the training.
    """

    def __init__(
        self,
        task: Task,
        spec: Optimizer,
        *,
        batch_size: int,
        total: int,
        per_epoch: int,
        precision: str,
        size: int,
        accumulate: int,
        seed: int,
    ) -> None:
        self.task, self.spec, self.size = task, spec, size
        self.total, self.accumulate, self.seed = total, accumulate, seed
        self.device = pick_device()
        self.autocast = precision == "bfloat16"
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.autocast:
            bfloat16.check(self.device)
        self.warmup = spec.warmup_epochs * per_epoch
        if self.warmup > total:
            raise UserError(
                f"optimizer.warmup_epochs = {spec.warmup_epochs}: the training has only "
                f"{total / per_epoch:g} epochs"
            )
        self.peak = schedule.peak(spec, batch_size)
        place(task.module, self.device)
        task.module.train()
        self.optimizer = optim.build(task.module, spec, task.factor)
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.number = 0

    def prepared(self, stream: Iterator[Batch]) -> Generator[Iterable[Part]]:
        """The parts of each batch: ahead on the CPU; on a GPU, which runs behind, in the step."""
        if self.device.type == "cpu":
            return prefetch(stream, lambda batch: list(self.prepare(batch)))
        return (self.prepare(batch) for batch in stream)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Iterator[Part]:
        """The parts of one batch on the device, augmented and prepared for the task."""
        for part in batch.to(self.device).split(self.accumulate):
            yield self.task.prepare(to_device_clips(part, self.size, self.task.colours), part), part

    def __call__(self, parts: Iterable[Part]) -> dict[str, Tensor]:
        """Train on the parts of one batch; returns the means of the task's scalars over them all.

        The means are over ranks too, so that each rank's checkpoint serves all.
        """
        # dropout and the like: numbers of this step, whatever ran before it
        torch.manual_seed(self.seed * 1_000_003 + self.number)
        rate = self.peak * schedule.share(self.spec, self.number, self.total, self.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group[optim.FACTOR]
        self.optimizer.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        for clips, batch in parts:
            for name, value in self._add_gradients(clips, batch).items():
                part = value / self.accumulate
                means[name] = means[name] + part if name in means else part
        distributed.average(p.grad for p in self.trained if p.grad is not None)
        if self.spec.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.trained, self.spec.clip_norm)
        self.optimizer.step()
        self.number += 1
        self.task.after_step(self.number / self.total)
        return means

    def _add_gradients(self, clips: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        def backward(loss: Tensor) -> None:
            (loss / self.accumulate).backward()  # type: ignore[no-untyped-call]

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            scalars = self.task.step(clips, batch, backward)
        return distributed.averaged(scalars)
