"""The stage ``pretrain`` on videos in memory, with another loop in place of training."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from support import pretext
from support.study import ROOT
from videossl.job import Job
from videossl.study import params
from videossl.study.registry import BACKBONES, METHODS
from videossl.train import pretrain

ROWS = [{"step": 1, "epoch": 1, "loss": 0.5, "lr": 0.1}]


class Stored(pretext.Store):
    """The videos of a split, which go on after their last frame with the first."""

    def clip(self, video: int, frames: Any, out: Any = None) -> Any:
        return super().clip(video, frames % pretext.FRAMES, out)

    def members(self, split: int, part: str) -> list[int]:
        return list(range(len(self.videos)))


class Motions(pretext.Motions):
    """Motion of all of them."""

    def clip(self, video: int, frames: Any, out: Any = None) -> Any:
        return super().clip(video, frames % pretext.FRAMES, out)

    def check(self, store: Any) -> None:
        return

    def missing(self, store: Any) -> set[str]:
        return set()


def run(name: str, folder: Path, patch: pytest.MonkeyPatch, fit: Any, **changes: Any) -> Path:
    """Run the stage on videos in memory, with another loop; ``changes`` are the budget's."""
    study = params.load(ROOT / "params.yaml")
    row = study.methods[name]
    budget = study.pretrain[row.pretrain].model_copy(
        update={"batch_size": 8, "clip": pretext.CLIP, "monitor_epochs": 0, **changes}
    )
    declared = SimpleNamespace(
        method=row,
        task=study.task[row.task],
        backbone=study.backbone[row.backbone],
        optimizer=study.optimizer[row.optimizer],
        pretrain=budget,
    )
    store = Stored()
    for number, video in enumerate(store.videos):
        video.name, video.frames = f"video-{number}", 40
    motion = study.motion.get(row.motion)
    patch.setattr(pretrain, "ClipStore", lambda path: store)
    patch.setattr(pretrain, "MotionStore", lambda path: Motions(motion))
    patch.setattr(pretrain, "fit", fit)
    modules = {
        "method": import_module(METHODS[name]),
        "backbone": import_module(BACKBONES[declared.backbone.name]),
    }
    inputs = {"shards": (folder,), "motion": (folder,)}
    key = {"row": name, "seed": "0"}
    pretrain.run(Job("pretrain", key, inputs, folder, folder / "scratch", 1, modules), declared)
    return folder / "encoder.safetensors"


def marked(job: Job, task: pretrain.Pretraining, *rest: Any) -> list[dict[str, float]]:
    """In place of training: 7 everywhere, and 3 in the online encoder."""
    with torch.no_grad():
        for value in task.module.parameters():
            value.fill_(7.0)
        for value in task.module.encoder.parameters():
            value.fill_(3.0)
    return ROWS
