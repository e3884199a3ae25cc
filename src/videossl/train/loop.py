"""The training loop, for pretraining and fine-tuning alike.

A run is a pure function of its parameters and its data: batch and random numbers of step ``s``
depend on (seed, s) only. So a run that was killed goes on from its last checkpoint and ends, on
the CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from videossl import distributed
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import Batch, TrainBatches, batches
from videossl.job import Job, Stopped, UserError
from videossl.study.schema import Optimizer
from videossl.train import checkpoint, curve, optim, speed
from videossl.train.device import device, keep_freed_memory, place, readers
from videossl.train.prefetch import ahead

STOP_EVERY = 8  # steps after which ranks agree on stopping: it waits for the device
CHECKPOINT_SECONDS = 30.0  # at most this much work is lost to a kill
Part = tuple[list[Tensor], Batch]  # what ``Task.prepare`` made of a batch, or of a part of it


class Task(ABC):
    """What is trained, for the loop."""

    module: nn.Module  # parameters and buffers are all the state of the task, but for `extra`

    def prepare(self, clips: list[Tensor], batch: Batch) -> list[Tensor]:
        """What ``step`` gets of a batch's clips; on the CPU it runs ahead, beside other steps."""
        return clips

    @abstractmethod
    def step(
        self, clips: list[Tensor], batch: Batch, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """Add the gradients of one batch; returns detached scalars, ``loss`` among them."""

    def after_step(self, progress: float) -> None:
        """Runs after each optimiser step."""
        return

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Runs after each epoch; returns more columns of the curve."""
        return {}

    def extra(self) -> dict[str, Any]:
        """State beside the module's, for the checkpoint."""
        return {}

    def restore(self, extra: dict[str, Any]) -> None:
        """Take back what ``extra`` gave."""
        return


@dataclass(frozen=True)
class Recipe:
    """How long and how a task is trained."""

    optimizer: Optimizer
    epochs: int
    warmup_epochs: int
    size: int  # of the clips, in pixels
    precision: str
    seed: int
    accumulate: int = 1  # parts that a batch is worked on in


def fit(job: Job, task: Task, batches: TrainBatches, recipe: Recipe) -> list[dict[str, float]]:
    """Train ``task``; returns the curve, one row per epoch, and writes ``speed.tsv`` likewise.

    Raises:
        Stopped: asked to end by a signal; the state is saved.
        UserError: the loss is no longer finite, or the precision does not work on this device.
    """
    return _Run(job, task, batches, recipe).to_the_end()


class _Run:
    def __init__(self, job: Job, task: Task, batches: TrainBatches, recipe: Recipe) -> None:
        self.job, self.task, self.batches, self.recipe = job, task, batches, recipe
        self.device = device()
        if self.device.type == "cpu":
            keep_freed_memory()
        self.autocast = recipe.precision == "bfloat16"
        if self.autocast and self.device.type == "cpu":
            # torch 2.14: oneDNN's bfloat16 weight gradients of 3x3x3 convolutions on maps of two
            # frames are garbage (1e34 or nan)
            raise UserError(
                "precision = 'bfloat16': wrong gradients on the CPU; use float32, or a GPU"
            )
        self.per_epoch = batches.steps_per_epoch
        self.total = recipe.epochs * self.per_epoch
        self.warmup = recipe.warmup_epochs * self.per_epoch
        place(task.module, self.device)
        task.module.train()
        self.optimizer = optim.build(task.module, recipe.optimizer)
        self.file = job.scratch / "checkpoint.pt"
        self.good = job.scratch / "good.pt"  # of the last epoch whose end was in order
        self.step = 0
        self.curve: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}  # of this epoch so far
        self.meter = speed.Meter()
        self.asked_to_stop = False
        self.board: curve.Board | None = None

    # ------------------------------------------------------------------ state

    def save(self) -> None:
        if distributed.rank():
            return  # one file serves all: ranks differ in batch statistics at most
        state = {
            "step": self.step,
            "module": self.task.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curve": self.curve,
            "sums": self.sums,
            "speed": self.meter.rows,
            "extra": self.task.extra(),
        }
        checkpoint.save(state, self.file)

    def resume(self) -> None:
        state = checkpoint.load(self.file, self.device)
        if state is None:
            return
        self.task.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.task.restore(state["extra"])
        self.step, self.curve, self.sums = state["step"], state["curve"], state["sums"]
        self.meter.rows = state["speed"]
        print(f"going on from step {self.step} of {self.total}", flush=True)

    def _fall_back(self) -> str:
        """Put the last good checkpoint in the place of the newest."""
        if distributed.rank():
            return ""
        if not self.good.exists():
            self.file.unlink(missing_ok=True)
            return ""
        checkpoint.keep(self.good, self.file)
        return f"; the state of the last good epoch is kept in {self.file}"

    @staticmethod
    def _refuse_infinite(loss: float, epoch: int) -> None:
        if not loss < float("inf"):  # false for nan too
            raise UserError(
                f"the loss is {loss} in epoch {epoch}; "
                "a lower optimizer.lr or a longer warmup_epochs may help"
            )

    # ------------------------------------------------------------------ running

    def to_the_end(self) -> list[dict[str, float]]:
        self.resume()
        every = float(os.environ.get("VIDEOSSL_CHECKPOINT_SECONDS", CHECKPOINT_SECONDS))
        old = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGUSR1)}
        workers = readers(self.device, self.job.threads)
        rows = distributed.rows(self.batches.batch_size, self.recipe.accumulate)
        source = self.batches.between(self.step, self.total, rows)
        saved = time.monotonic()
        if not distributed.rank():
            self.board = curve.Board(self.job, len(self.curve))
        try:
            with (
                closing(batches(source, workers, pin=self.device.type == "cuda")) as stream,
                closing(self._prepared(stream)) as prepared,
                _progress(self.total, self.step, self.job) as bar,
            ):
                for parts in self.meter.timed(prepared):
                    self._one_step(parts)
                    bar.update()
                    if self.step % self.per_epoch == 0:
                        self._end_epoch(bar)
                    if self._must_stop():
                        self.save()
                        raise Stopped(f"{self.job.stage}: saved at step {self.step}")
                    if time.monotonic() - saved >= every:
                        self.save()
                        saved = time.monotonic()
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            if self.board is not None:
                self.board.close()
        if not distributed.rank():
            curve.write(self.meter.rows, self.job.out / "speed.tsv")
        return self.curve

    def _must_stop(self) -> bool:
        """Whether any rank was asked to, at a step that all ranks agree on."""
        if distributed.active() and self.step % STOP_EVERY:
            return False
        return distributed.any_of(self.asked_to_stop, self.device)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True

    def _prepared(self, stream: Iterator[Batch]) -> Generator[Iterable[Part]]:
        """The parts of each batch: ahead on the CPU; on a GPU, which runs behind, in the step."""
        if self.device.type == "cpu":
            return ahead(stream, lambda batch: list(self._parts(batch)))
        return (self._parts(batch) for batch in stream)

    @torch.no_grad()
    def _parts(self, batch: Batch) -> Iterator[Part]:
        for part in batch.to(self.device).split(self.recipe.accumulate):
            yield self.task.prepare(to_device_clips(part, self.recipe.size), part), part

    def _one_step(self, prepared: Iterable[Part]) -> None:
        # dropout and the like: numbers of this step, whatever ran before it
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        spec = self.recipe.optimizer
        base = optim.peak(spec, self.batches.batch_size)
        for group in self.optimizer.param_groups:
            group["lr"] = optim.learning_rate(base, self.step, self.total, self.warmup)
        self.optimizer.zero_grad(set_to_none=True)
        for clips, batch in prepared:
            self._add_gradients(clips, batch)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        distributed.average(p.grad for p in trained if p.grad is not None)
        if spec.clip_norm:
            torch.nn.utils.clip_grad_norm_(trained, spec.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.task.after_step(self.step / self.total)

    def _add_gradients(self, clips: list[Tensor], batch: Batch) -> None:
        parts = self.recipe.accumulate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            found = self.task.step(clips, batch, lambda loss: _backward(loss / parts))
        # over ranks at every step, so that any rank's checkpoint holds the sums of all
        for name, value in distributed.averaged(found).items():
            sums = self.sums.get(name, torch.zeros_like(value))
            self.sums[name] = sums + value / parts

    def _end_epoch(self, bar: Any) -> None:
        epoch = self.step // self.per_epoch
        means = {name: float(value) / self.per_epoch for name, value in self.sums.items()}
        self.sums = {}
        lr = self.optimizer.param_groups[0]["lr"]
        row = {"step": self.step, "epoch": epoch, **means, "lr": lr}
        try:
            self._refuse_infinite(means["loss"], epoch)
            row |= self.task.after_epoch(epoch)
        except UserError as error:
            name = "/".join((self.job.stage, *self.job.who.values()))
            raise UserError(f"{name}: {error}{self._fall_back()}") from None
        self.curve.append(row)
        if self.board is not None:
            self.board.add(row)
        self.meter.end_epoch(epoch, self.batches.batch_size)
        if not distributed.rank():
            self.save()
            checkpoint.keep(self.file, self.good)
        bar.set_postfix(loss=f"{means['loss']:.3f}")
        if bar.disable:  # a log file: a line per epoch instead of a bar
            shown = " ".join(f"{k} {v:.4g}" for k, v in self.curve[-1].items() if k != "step")
            print(f"step {self.step}/{self.total} {shown}", flush=True)


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _progress(total: int, done: int, job: Job) -> Any:
    name = "/".join((job.stage, *job.who.values()))
    return tqdm(total=total, initial=done, desc=name, unit="step", disable=not sys.stderr.isatty())
