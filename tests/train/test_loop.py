"""The loop: exact resume after kills, errors in one line, and what it hands to a method."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from support.specs import AUGMENT, PLAIN
from videossl.data.loading.loader import TrainBatches
from videossl.data.loading.sampling import ClipRequest, window
from videossl.job import Job, Stopped, UserError
from videossl.study.schema import Optimizer
from videossl.train import loop, step
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
        loss = F.cross_entropy(self.module(clips[0]), batch.label) * self.scale
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


def fit(tmp_path: Path, task: Task, lr: float = 0.1, precision: str = "float32"):
    job = Job("pretrain", {"method": "toy"}, {}, tmp_path, tmp_path / "scratch", 1, {})
    batches = TrainBatches(Store(), range(8), requests, AUGMENT, 4, 0)
    spec = Optimizer(
        name="sgd", lr=lr, momentum=0.9, weight_decay=1e-4, **PLAIN | {"warmup_epochs": 1}
    )
    return loop.fit(job, task, batches, loop.Recipe(spec, 5, 16, precision, 0))


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    torch.set_num_threads(1)
    whole = Toy()
    curve = fit(tmp_path / "whole", whole)
    for stop_at in (1, 3, 7):
        folder = tmp_path / str(stop_at)
        with pytest.raises(Stopped, match=f"saved at step {stop_at}"):
            fit(folder, Toy(stop_at))
        task = Toy()
        assert fit(folder, task) == curve
        assert task.steps == 10 - stop_at
        for name, value in whole.module.state_dict().items():
            assert torch.equal(task.module.state_dict()[name], value), name
        for name, value in whole.best["state"].items():
            assert torch.equal(task.best["state"][name], value), name


def test_batches_made_ahead_are_those_made_in_turn(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    ahead, in_turn = Toy(), Toy()
    fit(tmp_path / "ahead", ahead)
    monkeypatch.setattr(step, "prefetch", lambda items, work: (work(item) for item in items))
    fit(tmp_path / "turn", in_turn)
    for name, value in ahead.module.state_dict().items():
        assert torch.equal(in_turn.module.state_dict()[name], value), name


def test_the_curve_has_a_row_per_epoch(tmp_path):
    curve = fit(tmp_path, Toy())
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in curve] == [2, 4, 6, 8, 10]
    assert list(curve[0]) == ["step", "epoch", "loss", "lr", "score"]


def test_speed_has_a_row_per_epoch_also_after_a_stop(tmp_path):
    with pytest.raises(Stopped):
        fit(tmp_path, Toy(3))
    fit(tmp_path, Toy())
    rows = pd.read_csv(tmp_path / "speed.tsv", sep="\t")
    assert rows["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert (rows["videos_per_second"] > 0).all()
    assert rows["waiting_share"].between(0, 1).all()
    assert (rows["peak_memory"] > 10).all()


@pytest.mark.parametrize("scale", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_is_one_line(tmp_path, scale):
    with pytest.raises(UserError, match=r"pretrain/toy: the loss is (inf|nan) in epoch 1"):
        fit(tmp_path, Toy(scale=scale))


def test_the_last_good_epoch_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDEOSSL_CHECKPOINT_SECONDS", "0")
    task = Toy()

    def refuse(epoch):
        if epoch == 3:
            raise UserError("not in order")
        return {}

    task.after_epoch = refuse
    with pytest.raises(UserError, match=r"not in order; the state of the last good epoch is kept"):
        fit(tmp_path, task)
    assert not (tmp_path / "scratch" / "checkpoint.pt").exists()
    again = Toy()
    fit(tmp_path, again)
    assert again.steps == 10 - 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="bfloat16 is allowed on a GPU")
def test_bfloat16_is_refused_on_the_cpu(tmp_path):
    with pytest.raises(UserError, match="precision = 'bfloat16': wrong gradients on the CPU"):
        fit(tmp_path, Toy(), precision="bfloat16")
