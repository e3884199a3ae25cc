"""Every method, small, on videos of smooth noise: for tests that train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from support.specs import AUGMENT, COLOURS, PLAIN
from support.study import ROOT
from videossl.data.loading.loader import TrainBatches
from videossl.data.motion import store
from videossl.methods.base import Method
from videossl.models import resnet3d
from videossl.study import params, schema
from videossl.study.registry import METHODS

VIDEOS, FRAMES, SIDE = 16, 24, 24
NO_TARGET = torch.empty(16, 0)
CLIP = schema.Clip(frames=4, stride=2, size=16)
SGD = schema.Optimizer(name="sgd", lr=0.05, momentum=0.9, weight_decay=1e-4, **PLAIN)
WARM = SGD.model_copy(update={"warmup_epochs": 1})
SMALL = {"dim": 8, "hidden": 8, "queue": 24, "code_queue": 24, "layers": 2}


class Video:
    """What a store says of one."""

    frames, height, width, splits = FRAMES, SIDE, SIDE, {"1": "train"}

    def __init__(self, label: int) -> None:
        self.label = label


class Store:
    """Videos in memory."""

    channels, planes = 3, 1

    def __init__(self) -> None:
        self.videos = [Video(k % 4) for k in range(VIDEOS)]
        rng = np.random.default_rng(0)
        coarse = rng.uniform(0, 255, (VIDEOS, 6, 6, 6, 3))
        self.pixels = coarse.repeat(4, 1).repeat(4, 2).repeat(4, 3).astype(np.uint8)

    def clip(self, video, frames, out=None):
        found = self.pixels[video][frames]
        if out is not None:
            out[:] = found
        return found


class Motions(Store):
    """Their motion, not that of the pictures."""

    def __init__(self, options: schema.Motion) -> None:
        super().__init__()
        self.options = options
        self.channels, self.planes = 1, store.planes(options)
        self.pixels = np.concatenate([self.pixels[..., p : p + 1] for p in range(self.planes)], 2)


def build(name: str, seed: int = 0, changes: Mapping[str, Any] | None = None) -> Method:
    """A method with its parameters of params.yaml, but small and with ``changes``."""
    raw = params.read(ROOT / "params.yaml")
    block = raw["methods"][name]
    block |= {key: value for key, value in SMALL.items() if key in block}
    block |= changes or {}
    raw["pretrain"][block["pretrain"]]["batch_size"] = 8
    study = params.validate(raw, "params.yaml")
    spec = study.methods[name]
    torch.manual_seed(seed)
    encoder = resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS))
    task = study.task[spec.task]
    return import_module(METHODS[name]).build(spec, task, CLIP, encoder)


def batches(method: Method, batch_size: int = 8) -> TrainBatches:
    """All videos, in batches."""
    entry = method.params.motion
    motion = None
    if entry != schema.NO_MOTION:
        motion = Motions(params.load(ROOT / "params.yaml").motion[entry])
    return TrainBatches(Store(), range(VIDEOS), method.requests, AUGMENT, batch_size, 0, motion)


def forward(
    method: Method, clips: list[Tensor], video: Tensor, target: Tensor
) -> dict[str, Tensor]:
    """The loss of clips, as ``data.views`` gives them."""
    return method(method.prepare(clips, target), video, target)


def step(
    method: Method,
    clips: list[Tensor],
    video: Tensor,
    backward: Callable[[Tensor], None],
    target: Tensor,
) -> dict[str, Tensor]:
    """Loss and gradients of the same."""
    return method.training_step(method.prepare(clips, target), video, backward, target)


def overfit(
    method: Method,
    batch_of: Callable[[int], tuple[list[Tensor], Tensor]],
    steps: int,
    lr: float = 3e-3,
) -> dict[str, np.ndarray]:
    """Train on sixteen videos, as the loop does.

    Args:
        batch_of: clips of the sixteen and their target, by the number of the step.
        steps: how many.
        lr: of AdamW.

    Returns:
        Every measure at every step, (steps,).
    """
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=lr)
    history = []
    for number in range(steps):
        clips, target = batch_of(number)
        optimizer.zero_grad()
        out = step(method, clips, torch.arange(16), lambda x: x.backward(), target)
        optimizer.step()
        method.after_step((number + 1) / steps)
        history.append({name: value.item() for name, value in out.items()})
    return {name: np.array([row[name] for row in history]) for name in history[0]}
