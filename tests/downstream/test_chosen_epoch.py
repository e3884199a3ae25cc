"""Fine-tuning begins with the pretrained weights and writes those of the best epoch."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from support.specs import AUGMENT, COLOURS, PLAIN
from support.toy import Store
from videossl.downstream import examples, finetune
from videossl.downstream.objectives import classification
from videossl.job import Job
from videossl.models import resnet3d, weights
from videossl.study import schema

MODEL = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
SCORES = [[0.2, -1.0], [0.9, -0.8], [0.9, -0.5], [0.5, -0.1]]  # the third epoch is best


class Named(Store):
    """Videos that are found by name."""

    def number(self, name: str) -> int:
        return int(name)


def tune(folder: Path, monkeypatch: pytest.MonkeyPatch, validation: float) -> SimpleNamespace:
    """Run the stage on eight videos; the network as built and as it was at each validation."""
    torch.set_num_threads(1)
    seen = SimpleNamespace(built=[], validated=[], encoder=resnet3d.build(MODEL))
    for name in ("out", "weights", "examples"):
        (folder / name).mkdir()
    weights.save(seen.encoder, MODEL, folder / "weights" / "encoder.safetensors")
    parts = {"1": ["train"] * 8}
    names = [str(n) for n in range(8)]
    table = examples.Examples(names, np.arange(8) % 2, ["a", "b"], parts)
    examples.write(table, {}, folder / "examples")

    def build(*given):
        model = classification.build(*given)
        seen.built.append(copy.deepcopy(model.state_dict()))
        return model

    def per_clip(module, store, videos, *rest):
        seen.validated.append(copy.deepcopy(module.state_dict()))
        return np.zeros((len(videos), 1, 2), np.float32)

    def validate(outputs, target):
        return SCORES[len(seen.validated) - 1], {"validation_top1": 0.0}

    objective = SimpleNamespace(**vars(classification) | {"build": build, "validate": validate})
    monkeypatch.setattr(finetune, "per_clip", per_clip)
    monkeypatch.setattr(finetune, "ClipStore", lambda path: Named())
    spec = schema.Finetune.model_construct(
        share=1.0,
        validation=validation,
        clip=schema.Clip(frames=2, stride=1, size=16),
        epochs=len(SCORES),
        batch_size=2,
        precision="float32",
        dropout=0.0,
        augment=AUGMENT,
    )
    optimizer = schema.Optimizer(name="sgd", lr=0.1, momentum=0.0, weight_decay=0.0, **PLAIN)
    inputs = {name: (folder / name,) for name in ("weights", "examples", "shards")}
    key = {"encoder": "toy", "test": "toy", "seed": "0", "split": "1"}
    job = Job("finetune", key, inputs, folder / "out", folder / "scratch", 1, {})
    job.modules["objective"] = objective
    finetune.run(job, SimpleNamespace(finetune=spec, optimizer=optimizer))
    seen.written = load_file(folder / "out" / "classifier.safetensors")
    seen.epoch = json.loads((folder / "out" / "metrics.json").read_text())["epoch"]
    return seen


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_the_best_epoch_is_written(tmp_path, monkeypatch):
    seen = tune(tmp_path, monkeypatch, 0.25)
    assert seen.epoch == 3
    assert [same(seen.written, state) for state in seen.validated] == [False, False, True, False]


def test_training_begins_with_the_pretrained_weights(tmp_path, monkeypatch):
    seen = tune(tmp_path, monkeypatch, 0.25)
    (state,) = seen.built
    inside = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    assert same(inside, seen.encoder.state_dict())


def test_without_validation_the_last_epoch_is_written(tmp_path, monkeypatch):
    seen = tune(tmp_path, monkeypatch, 0.0)
    assert (seen.epoch, seen.validated) == (4, [])
