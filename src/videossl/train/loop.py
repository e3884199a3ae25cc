"""The training loop, for pretraining and fine-tuning alike.

A run is a pure function of its parameters and its data: batch and random numbers of step ``s``
depend on (seed, s) only. So a run that was killed resumes at its last checkpoint and ends, on the
CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from videossl import distributed
from videossl.data.loading.loader import TrainBatches, batches
from videossl.job import Job, Stopped, UserError
from videossl.progress import Progress
from videossl.study.schema import Optimizer
from videossl.train import checkpoint, curve, speed
from videossl.train.device import readers
from videossl.train.step import TrainingStep
from videossl.train.task import Task

STOP_EVERY = 8  # steps after which ranks agree on stopping: it waits for the device
SECONDS = "VIDEOSSL_CHECKPOINT_SECONDS"  # not a parameter: it changes no result
CHECKPOINT_SECONDS = 30.0  # at most this much work is lost to a kill


@dataclass(frozen=True)
class Recipe:
    """How long and how a task is trained."""

    optimizer: Optimizer
    epochs: int
    size: int  # of the clips, in pixels
    precision: str
    seed: int
    accumulate: int = 1  # parts that a batch is worked on in


def fit(job: Job, task: Task, batches: TrainBatches, recipe: Recipe) -> list[dict[str, float]]:
    """Train ``task``; returns the curve, one row per epoch, and writes ``speed.tsv`` likewise.

    Raises:
        Stopped: a signal asked to end; the state is saved.
        UserError: the loss or a weight is no longer finite, the precision does not work on this
            device, the warm-up is longer than the training, or the seconds between checkpoints are
            no number.
    """
    return _Run(job, task, batches, recipe).to_the_end()


class _Run:
    def __init__(self, job: Job, task: Task, batches: TrainBatches, recipe: Recipe) -> None:
        self.job, self.task, self.batches, self.recipe = job, task, batches, recipe
        self.name = job.name
        self.every = _seconds_between_checkpoints()
        self.per_epoch = batches.steps_per_epoch
        self.total = recipe.epochs * self.per_epoch
        self.step = TrainingStep(
            task,
            recipe.optimizer,
            batch_size=batches.batch_size,
            total=self.total,
            per_epoch=self.per_epoch,
            precision=recipe.precision,
            size=recipe.size,
            accumulate=recipe.accumulate,
            seed=recipe.seed,
        )
        self.file = job.scratch / "checkpoint.pt"
        self.good = job.scratch / "good.pt"  # of the last epoch whose end was in order
        self.identity = checkpoint.identity(task.module, self._facts())
        self.curve: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}  # of this epoch so far
        self.meter = speed.Meter()
        self.asked_to_stop = False
        self.board: curve.Board | None = None
        self.news: Progress | None = None

    def _facts(self) -> dict[str, Any]:
        """What decides what this run computes, beside its data and its initial weights."""
        recipe = self.recipe
        return {
            "name": self.name,
            "optimizer": recipe.optimizer.model_dump(),
            "steps": [self.total, self.per_epoch, self.batches.batch_size, recipe.accumulate],
            "size": recipe.size,
            "precision": recipe.precision,
            "seed": recipe.seed,
        }

    # ------------------------------------------------------------------ state

    def _save(self) -> None:
        if distributed.rank():
            return  # one file serves all: ranks differ in batch statistics at most
        state = {
            "step": self.step.number,
            "module": self.task.module.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "curve": self.curve,
            "sums": self.sums,
            "speed": self.meter.rows,
            "extra": self.task.extra(),
        }
        checkpoint.save(state, self.file, self.identity)

    def _resume(self) -> None:
        """Take the newest checkpoint that is in order; say in one line what was found."""
        state, refused = None, []
        for path in (self.file, self.good):
            try:
                state = checkpoint.load(path, self.step.device, self.identity)
            except checkpoint.Unusable as error:
                refused.append(f"{path} is not used ({error})")
            if state is not None:
                self._take(state)
                break
        self._agree()
        if state is not None:
            found = f"resumes at step {self.step.number} of {self.total}"
        elif refused:
            found = "starts anew"
        else:
            return
        if not distributed.rank():
            print("; ".join([*refused, found]), flush=True)

    def _take(self, state: dict[str, Any]) -> None:
        self.task.module.load_state_dict(state["module"])
        self.step.optimizer.load_state_dict(state["optimizer"])
        self.task.restore(state["extra"])
        self.step.number, self.curve, self.sums = state["step"], state["curve"], state["sums"]
        self.meter.rows = state["speed"]

    def _agree(self) -> None:
        """Refuse to train where ranks do not see the same checkpoint: they would wait for ever."""
        mine = torch.tensor([self.step.number], device=self.step.device)
        steps = sorted(set(distributed.gather(mine).tolist()))
        if len(steps) > 1:
            raise UserError(
                f"{self.file.parent}: ranks read checkpoints of steps {steps}; "
                "all machines must see one folder"
            )

    def _fall_back(self) -> str:
        """Leave the last good checkpoint as the only one."""
        if distributed.rank():
            return ""
        self.file.unlink(missing_ok=True)
        if not self.good.exists():
            return ""
        return f"; the state of the last good epoch is kept in {self.good}"

    # ------------------------------------------------------------------ running

    def to_the_end(self) -> list[dict[str, float]]:
        self._resume()
        old = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGUSR1)}
        device = self.step.device
        workers = readers(device, self.job.threads)
        rows = distributed.rows(self.batches.batch_size, self.recipe.accumulate)
        source = self.batches.between(self.step.number, self.total, rows)
        saved = time.monotonic()
        if not distributed.rank():
            self.news = Progress(self.job.scratch, self.total, self.step.number)
            self.board = curve.Board(self.job, self.curve)
        try:
            with (
                closing(batches(source, workers, pin=device.type == "cuda")) as stream,
                closing(self.step.prepared(stream)) as prepared,
                self._progress() as bar,
            ):
                for parts in self.meter.timed(prepared):
                    self._add(self.step(parts))
                    bar.update()
                    if self.news is not None:
                        self.news.step(**self.meter.now(self.batches.batch_size))
                    if self.step.number % self.per_epoch == 0:
                        self._end_epoch(bar)
                    if self._must_stop():
                        self._save()
                        raise Stopped(f"{self.job.stage}: saved at step {self.step.number}")
                    if time.monotonic() - saved >= self.every:
                        self._save()
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
        if distributed.active() and self.step.number % STOP_EVERY:
            return False
        return distributed.any_of(self.asked_to_stop, self.step.device)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True

    def _add(self, scalars: dict[str, Tensor]) -> None:
        for name, value in scalars.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _end_epoch(self, bar: Any) -> None:
        epoch = self.step.number // self.per_epoch
        means = {name: float(value) / self.per_epoch for name, value in self.sums.items()}
        self.sums = {}
        lr = self.step.optimizer.param_groups[0]["lr"]
        row = {"step": self.step.number, "epoch": epoch, **means, "lr": lr}
        try:
            self._refuse_infinite(means["loss"], epoch)
            row |= self.task.after_epoch(epoch)
        except UserError as error:
            raise UserError(f"{self.name}: {error}{self._fall_back()}") from None
        self.curve.append(row)
        if self.news is not None:
            self.news.facts["loss"] = means["loss"]
        if self.board is not None:
            self.board.add(row)
        self.meter.end_epoch(epoch, self.batches.batch_size)
        if not distributed.rank():
            self._save()
            checkpoint.keep(self.file, self.good)
        bar.set_postfix(loss=f"{means['loss']:.3f}")
        if bar.disable:  # a log file: a line per epoch instead of a bar
            shown = " ".join(f"{k} {v:.4g}" for k, v in self.curve[-1].items() if k != "step")
            print(f"step {self.step.number}/{self.total} {shown}", flush=True)

    def _refuse_infinite(self, loss: float, epoch: int) -> None:
        wrong = ""
        if not loss < float("inf"):  # false for nan too
            wrong = f"the loss is {loss}"
        # the last step's weights are in no loss yet
        elif not all(torch.stack([p.isfinite().all() for p in self.step.trained]).tolist()):
            wrong = "a weight is not finite"
        if wrong:
            raise UserError(
                f"{wrong} in epoch {epoch}; "
                "a lower optimizer.lr or a longer optimizer.warmup_epochs may help"
            )

    def _progress(self) -> Any:
        quiet = not sys.stderr.isatty()
        done = self.step.number
        return tqdm(total=self.total, initial=done, desc=self.name, unit="step", disable=quiet)


def _seconds_between_checkpoints() -> float:
    text = os.environ.get(SECONDS)
    if not text:
        return CHECKPOINT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:  # false for nan too
        raise UserError(f"{SECONDS} = {text!r}: allowed are seconds, 0 or more")
    return seconds
