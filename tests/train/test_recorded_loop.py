"""Every quantity of every step of the loop, against a transcription in NumPy.

The loop runs as it is, on a regression in float64; hooks that torch offers for all optimisers
record what they are given. The gradient is derived by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from support import pretext
from support.specs import AUGMENT, PLAIN
from support.transcription import Arrays, Transcribed, clipped, rate
from videossl import distributed
from videossl.data.loading.loader import TrainBatches
from videossl.data.loading.sampling import ClipRequest, window
from videossl.job import Job
from videossl.methods.base import MomentumEncoder
from videossl.study.schema import Optimizer
from videossl.train import loop
from videossl.train.task import Task

EPOCHS, BATCH, PARTS = 4, 8, 2
PER_EPOCH = pretext.VIDEOS // BATCH
TOTAL = EPOCHS * PER_EPOCH
TRAINED = ("weight", "scale", "bias")
KINDS = [
    ("sgd", False),
    ("sgd", True),
    ("adamw", False),
    ("lars", False),
    ("lars", True),
    ("lamb", False),
]
RATES = {"sgd": 0.4, "adamw": 0.05, "lars": 30.0, "lamb": 0.05}


class Net(nn.Module):
    """A weight, a scale like that of a norm, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(5)
        for name, shape in zip(TRAINED, [(2, 3), (2,), (2,)], strict=True):
            value = torch.from_numpy(rng.normal(size=shape))
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T * self.scale + self.bias


@dataclass
class Recorded(Task):
    """A regression that notes what it is given and when."""

    events: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.net = Net()
        self.slow = MomentumEncoder(self.net, nn.Identity())
        self.module = nn.ModuleList([self.net, self.slow])
        self.start = self.weights()

    def weights(self) -> Arrays:
        return {name: getattr(self.net, name).detach().numpy().copy() for name in TRAINED}

    def gradients(self) -> Arrays:
        return {name: getattr(self.net, name).grad.numpy().copy() for name in TRAINED}

    def step(self, clips, batch, backward):
        x = clips[0].double().mean((2, 3, 4))
        y = torch.stack([batch.video, batch.video % 4], dim=1).double() / 8
        loss = (self.net(x) - y).square().mean()
        self.events.append(("part", (x.numpy(), y.numpy(), self.weights())))
        backward(loss)
        return {"loss": loss.detach()}

    def after_step(self, progress):
        self.slow.update(self.net, nn.Identity(), 0.75)
        slow = {n: getattr(self.slow.encoder, n).numpy().copy() for n in TRAINED}
        self.events.append(("after", (progress, slow)))

    def before(self, optimizer, args, kwargs):
        rates = {group["lr"] for group in optimizer.param_groups}
        self.events.append(("before", (rates, self.gradients())))

    def moved(self, optimizer, args, kwargs):
        self.events.append(("moved", self.weights()))


def requests(rng, num_frames):
    return [ClipRequest(window(num_frames, int(rng.integers(num_frames)), 2, 1), 0)]


def record(spec: Optimizer, folder: Path) -> tuple[Recorded, list[dict[str, float]]]:
    """Run the loop; the task with its events, and the curve."""
    torch.set_num_threads(1)
    task = Recorded()
    hooks = [
        register_optimizer_step_pre_hook(task.before),
        register_optimizer_step_post_hook(task.moved),
    ]
    job = Job("pretrain", {"row": "recorded", "seed": "0"}, {}, folder, folder / "scratch", 1, {})
    batches = TrainBatches(pretext.Store(), range(pretext.VIDEOS), requests, AUGMENT, BATCH, seed=3)
    recipe = loop.Recipe(spec, EPOCHS, 16, "float32", 3, PARTS)
    try:
        return task, loop.fit(job, task, batches, recipe)
    finally:
        for hook in hooks:
            hook.remove()


def by_hand(x: np.ndarray, y: np.ndarray, w: Arrays) -> tuple[float, Arrays]:
    """Loss and gradient of the regression."""
    product = x @ w["weight"].T
    error = product * w["scale"] + w["bias"] - y
    r = 2 * error / error.size
    gradient = {
        "weight": (r * w["scale"]).T @ x,
        "scale": (r * product).sum(0),
        "bias": r.sum(0),
    }
    return float((error**2).mean()), gradient


def compare(spec: Optimizer, folder: Path) -> list[float]:
    """Run the loop and the transcription; returns by how much each step was clipped."""
    task, curve = record(spec, folder)
    names = [name for name, _ in task.events]
    assert names == [*["part"] * PARTS, "before", "moved", "after"] * TOTAL
    events = iter([what for _, what in task.events])
    expected = Transcribed(spec, task.start)
    target = {name: value.copy() for name, value in task.start.items()}
    losses, shares = [], []
    for step in range(TOTAL):
        parts = [next(events) for _ in range(PARTS)]
        for x, _, weights in parts:
            assert len(x) == BATCH // PARTS
            assert_weights(weights, expected.weights)
        # equal parts: the gradient of the whole batch is the mean of theirs
        x, y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        loss, gradient = by_hand(x, y, expected.weights)
        losses.append(loss)
        short = clipped(gradient, spec.clip_norm)
        shares.append(float(np.abs(short["bias"]).sum() / np.abs(gradient["bias"]).sum()))
        lr = rate(spec, step, EPOCHS, PER_EPOCH, BATCH)
        (used,), gradients = next(events)
        assert used == pytest.approx(lr, rel=1e-12, abs=1e-15), step
        assert_weights(gradients, short)
        expected.step(short, lr)
        assert_weights(next(events), expected.weights)
        progress, followed = next(events)
        assert progress == (step + 1) / TOTAL
        target = {n: 0.75 * t + 0.25 * expected.weights[n] for n, t in target.items()}
        assert_weights(followed, target)
        if (step + 1) % PER_EPOCH == 0:
            row = curve[step // PER_EPOCH]
            assert row["loss"] == pytest.approx(np.mean(losses[-PER_EPOCH:]), rel=1e-9)
            assert row["lr"] == used
    moved = max(float(np.abs(expected.weights[n] - task.start[n]).max()) for n in TRAINED)
    assert moved > 0.01  # else nothing above says much
    return shares


def assert_weights(found: Arrays, expected: Arrays) -> None:
    for name in TRAINED:
        assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def spec_of(name: str, nesterov: bool, **changes: Any) -> Optimizer:
    keys = PLAIN | {"nesterov": nesterov, "warmup_epochs": 1, "lr_base_size": 2}
    rest = {"lr": RATES[name] / 4, "momentum": 0.8, "weight_decay": 0.05}
    return Optimizer(name=name, **rest | keys | changes)


@pytest.mark.parametrize("decay_norms", [False, True])
@pytest.mark.parametrize(("name", "nesterov"), KINDS)
def test_every_step_is_that_of_the_formulas(name, nesterov, decay_norms, tmp_path):
    spec = spec_of(name, nesterov, decay_norms=decay_norms, clip_norm=0.4)
    shares = compare(spec, tmp_path)
    assert min(shares) < 0.9  # the limit bites


@pytest.mark.parametrize(("name", "nesterov"), KINDS)
def test_without_decay_and_limit(name, nesterov, tmp_path):
    # timm's LARS and LAMB would adapt nothing, and its LAMB limit the gradient to 1
    assert set(compare(spec_of(name, nesterov, weight_decay=0.0), tmp_path)) == {1.0}


def test_the_limit_holds_for_the_mean_over_ranks(tmp_path, monkeypatch):
    def others_have_more(gradients):
        for gradient in gradients:
            gradient *= 50

    monkeypatch.setattr(distributed, "average", others_have_more)
    task, _ = record(spec_of("sgd", False, clip_norm=0.1), tmp_path)
    for name, what in task.events:
        if name == "before":
            norm = np.sqrt(sum((g**2).sum() for g in what[1].values()))
            assert norm == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine", "lowest": 0.1},
        {"schedule": "cosine_from_start", "lowest": 0.05},
        {"schedule": "cosine_from_start", "warmup_epochs": 0},
        {"schedule": "steps", "milestones": [0.35, 0.5, 0.9], "factor": 0.3},
        {"schedule": "constant", "lr_base_size": "none"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_schedule_reaches_the_optimiser(changes, tmp_path):
    compare(spec_of("sgd", False, **changes), tmp_path)
