"""The stage: which weights it keeps, and what it refuses before it trains."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from support import pretext
from support.study import ROOT
from videossl.job import Job, UserError
from videossl.methods.base import Method
from videossl.study import params
from videossl.study.registry import BACKBONES, METHODS
from videossl.train import pretrain

ROWS = [{"step": 1, "epoch": 1, "loss": 0.5, "lr": 0.1}]


class Stored(pretext.Store):
    """The videos of a split."""

    def members(self, split: int, part: str) -> list[int]:
        return list(range(len(self.videos)))


class Motions(pretext.Motions):
    """Motion of all of them."""

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


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_online_encoder_is_kept(name, tmp_path, monkeypatch):
    kept = load_file(run(name, tmp_path, monkeypatch, marked))
    weights = {key: value for key, value in kept.items() if key.endswith(("weight", "bias"))}
    assert len(weights) > 20
    assert {value for tensor in weights.values() for value in tensor.unique().tolist()} == {3.0}


def test_the_rows_group_of_batch_norm_reaches_its_layers(tmp_path, monkeypatch):
    found: list[Method] = []

    def noted(job: Job, task: pretrain.Pretraining, *rest: Any) -> list[dict[str, float]]:
        found.append(task.module)
        return ROWS

    study = params.load(ROOT / "params.yaml")
    row = study.methods["rho_moco"].model_copy(update={"bn_group": 2})
    changed = study.model_copy(update={"methods": {**study.methods, "rho_moco": row}})
    monkeypatch.setattr(params, "load", lambda path: changed)
    run("rho_moco", tmp_path, monkeypatch, noted, accumulate=2)
    (method,) = found
    layers = [m for m in method.modules() if hasattr(m, "running_mean")]
    assert {(layer.group, layer.rows) for layer in layers} == {(2, 4)}
    assert method.key_encoder.group == 2


def test_videos_that_are_all_too_short_are_refused(tmp_path, monkeypatch):
    clip = pretext.CLIP.model_copy(update={"stride": 14})
    with pytest.raises(UserError, match=r"^methods.hdc: needs 43 frames .* has 40; a lower"):
        run("hdc", tmp_path, monkeypatch, marked, clip=clip)
