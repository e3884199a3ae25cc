"""Occlusion maps: exact on networks that look at one place, and the same whatever is predicted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support.specs import COLOURS
from support.stores import Store
from videossl.data.loading.augment import SLOWFAST
from videossl.data.loading.example_batches import Chosen
from videossl.downstream import examples, occlusion
from videossl.downstream import test as stage
from videossl.downstream.objectives import classification, multi_label
from videossl.job import Job
from videossl.models import resnet3d, weights
from videossl.study import schema

CLIP = schema.Clip(frames=2, stride=1, size=16)
MODEL = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)


class Spot(nn.Module):
    """Tells class 1 by the mean of one pixel over channels and frames: its logit."""

    def __init__(self, y: int, x: int) -> None:
        super().__init__()
        self.y, self.x, self.sizes = y, x, []

    def forward(self, clips: Tensor) -> Tensor:
        assert not self.training
        self.sizes.append(len(clips))
        found = clips[..., self.y, self.x].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(found), found], dim=1)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (5, 11), (15, 3)])
def test_what_a_network_looks_at_is_found(y, x):
    clip = torch.full((3, 2, 16, 16), 2.0)
    model = Spot(y, x).eval()
    scores, lower = occlusion.drops(model, clip, 10)
    assert scores[1] == pytest.approx(1 / (1 + np.exp(-2)))
    starts = np.linspace(0, 12, 8).round()
    rows, columns = ((starts <= place) & (place < starts + 4) for place in (y, x))
    covering = torch.from_numpy(rows[:, None] & columns[None])
    assert 0 < covering.sum() < 16
    torch.testing.assert_close(lower[covering], (scores[1] - 0.5).expand(int(covering.sum())))
    assert (lower[~covering] == 0).all()
    assert model.sizes == [1, 10, 10, 10, 10, 10, 10, 4]
    assert (clip == 2).all()


def test_a_class_that_becomes_likelier_has_a_negative_drop():
    clip = torch.full((3, 2, 16, 16), -2.0)  # class 0 is predicted; hiding makes it less sure
    _, lower = occlusion.drops(Spot(8, 8).eval(), clip, 64)
    assert lower.min() == 0 < lower.max()
    clip[..., 8, 8] = 1.0
    clip[..., 9, 9] = -3.0

    class Sum(Spot):
        def forward(self, clips: Tensor) -> Tensor:
            found = (clips[..., 8, 8] + clips[..., 9, 9]).mean(dim=(1, 2))
            return torch.stack([torch.zeros_like(found), -found], dim=1)

    _, lower = occlusion.drops(Sum(0, 0).eval(), clip, 64)
    assert lower.min() < 0 < lower.max()


def test_squares_cover_every_pixel_and_stay_inside():
    for size in (8, 16, 32, 112, 224):
        seen = np.zeros((size, size), int)
        for top, left, side in occlusion.corners(size):
            assert min(top, left) >= 0
            assert max(top, left) + side <= size
            seen[top : top + side, left : left + side] += 1
        assert seen.min() >= 1


def test_examples_are_spread_evenly():
    assert occlusion.pick(180).tolist() == [0, 60, 119, 179]
    assert occlusion.pick(4).tolist() == [0, 1, 2, 3]
    assert occlusion.pick(2).tolist() == [0, 1]
    assert occlusion.pick(1).tolist() == [0]


def test_what_is_written(tmp_path: Path):
    numbers = np.arange(20, 31)
    chosen = Chosen(numbers, range(11), None, False, CLIP, "window")
    model = Spot(8, 8).train()

    class Eval(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            return model.eval()(clips)

    outer = Eval()
    outer.train()
    occlusion.write(outer, Store(), chosen, np.arange(11) % 2, 16, SLOWFAST, tmp_path)
    assert outer.training
    with np.load(tmp_path / "occlusion.npz") as found:
        assert found["examples"].tolist() == [20, 23, 27, 30]
        assert found["labels"].tolist() == [0, 1, 1, 0]
        assert found["clips"].shape == (4, 2, 16, 16, 3)
        assert found["clips"].dtype == np.uint8
        assert found["clips"][:, :, 8:, 8:, 1].reshape(4, -1).mean(axis=1).tolist() == [0, 3, 7, 10]
        assert found["drops"].shape == (4, 8, 8)
        assert found["predicted"].tolist() == [0] * 4  # dark: below the mean
        logit = np.array([0, 3, 7, 10]) / 255 / 0.225 - 2
        np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(logit)), rtol=1e-5)


class Named(Store):
    """Videos that are found by name."""

    def number(self, name: str) -> int:
        return int(name)


@pytest.mark.parametrize("objective", [classification, multi_label])
def test_the_stage_writes_maps_of_classes_only(tmp_path, monkeypatch, objective):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    one = objective is classification
    targets = (
        np.arange(8) % 2 if one else [{"classes": [n % 2], "frames": [[0, 9]]} for n in range(8)]
    )
    parts = {"1": ["train"] * 3 + ["test"] * 5}
    table = examples.Examples([str(n) for n in range(8)], targets, ["a", "b"], parts)
    for name in ("out", "classifier", "examples"):
        (tmp_path / name).mkdir()
    examples.write(table, {}, tmp_path / "examples")
    model = objective.build(table).network(resnet3d.build(MODEL), 0.0)
    weights.save(model, MODEL, tmp_path / "classifier" / "classifier.safetensors")
    monkeypatch.setattr(stage, "ClipStore", lambda path: Named())
    views = schema.Views(clips=2, crops=1, batch_size=4, average="softmax", topk=[1])
    key = {"row": "toy", "test": "toy", "seed": "0", "split": "1"}
    inputs = {name: (tmp_path / name,) for name in ("classifier", "examples", "shards")}
    modules = {"objective": objective}
    job = Job("test", key, inputs, tmp_path / "out", tmp_path / "scratch", 1, modules)
    stage.run(job, SimpleNamespace(clip=CLIP, sampling="window", test=views))
    path = tmp_path / "out/occlusion.npz"
    assert path.exists() == one
    if one:
        first = path.read_bytes()
        with np.load(path) as found:
            assert found["examples"].tolist() == [3, 4, 6, 7]
            assert found["labels"].tolist() == [1, 0, 0, 1]
        stage.run(job, SimpleNamespace(clip=CLIP, sampling="window", test=views))
        assert path.read_bytes() == first
