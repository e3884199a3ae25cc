"""A small training with all that makes resuming hard, on videos of noise in memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from support.specs import AUGMENT, PLAIN
from videossl.data.loading.loader import TrainBatches
from videossl.data.loading.sampling import ClipRequest, window
from videossl.job import Job
from videossl.study.schema import Optimizer
from videossl.train import loop
from videossl.train.task import Task


class Video:
    frames, height, width, splits = 12, 20, 24, {"1": "train"}

    def __init__(self, label: int) -> None:
        self.label = label


class Store:
    """Eight videos of noise, in memory."""

    channels, planes = 3, 1

    def __init__(self) -> None:
        self.videos = [Video(k % 2) for k in range(8)]
        self.pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 20, 24, 3), np.uint8)

    def clip(self, video, frames, out=None):
        found = self.pixels[video][frames]
        if out is not None:
            out[:] = found
        return found


def requests(rng, num_frames):
    return [ClipRequest(window(num_frames, int(rng.integers(num_frames)), 2, 1), 0)]


class Toy(Task):
    """A small network with all that makes resuming hard: dropout, BN, momentum."""

    def __init__(self, stop_at: int = -1, scale: float = 1.0) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1)
        )
        self.module.extend([nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)])
        self.stop_at, self.scale, self.steps = stop_at, scale, 0
        self.best = {"score": [-1.0], "state": {}}  # what fine-tuning keeps beside the module

    def step(self, clips, batch, backward):
        loss = F.cross_entropy(self.module(clips[0]), batch.video % 2) * self.scale
        backward(loss)
        self.steps += 1
        return {"loss": loss.detach()}

    def after_epoch(self, epoch):
        weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        score = [float(weights["6.weight"].abs().sum())]
        if score > self.best["score"]:
            self.best = {"score": score, "state": weights}
        return {"score": score[0]}

    def extra(self):
        return self.best

    def restore(self, extra):
        self.best = extra

    def after_step(self, progress):
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)


def fit(
    folder: Path, task: Task, lr: float = 0.1, precision: str = "float32", seed: int = 0, **rest
):
    """Train for 5 epochs of 2 steps; ``rest`` goes into the optimiser's block."""
    job = Job("pretrain", {"row": "toy", "seed": "0"}, {}, folder, folder / "scratch", 1, {})
    batches = TrainBatches(Store(), range(8), requests, AUGMENT, 4, seed)
    keys = PLAIN | {"warmup_epochs": 1} | rest
    spec = Optimizer(name="sgd", lr=lr, momentum=0.9, weight_decay=1e-4, **keys)
    return loop.fit(job, task, batches, loop.Recipe(spec, 5, 16, precision, seed))
