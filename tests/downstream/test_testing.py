"""Testing looks at the test part alone, by the views that its entry asks for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from support.specs import COLOURS
from support.toy import Store
from videossl.downstream import examples
from videossl.downstream import test as stage
from videossl.downstream.examples import Examples
from videossl.downstream.objectives import classification
from videossl.job import Job
from videossl.models import resnet3d, weights
from videossl.study import schema

MODEL = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
LABELS = np.array([0, 1, 0, 1, 1, 0])
FRAMES = np.array([3, 1, 4, 1, 5, 9])


class Named(Store):
    """Videos that are found by name."""

    def number(self, name: str) -> int:
        return int(name)


class Watched(classification.Classification):
    """Says what it is asked."""

    occluded = False

    def __init__(self, found: Examples, said: list[str]) -> None:
        super().__init__(found)
        self.known, self.said = np.flatnonzero(found.targets >= 0).tolist(), said

    def for_testing(self, views: schema.Views) -> None:
        self.said.append("testing")


@pytest.mark.parametrize("frames", [None, FRAMES])
def test_views_are_of_the_test_part_and_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: np.ndarray | None
) -> None:
    parts = {"1": ["train", "train", "test", "", "test", "test"]}
    table = Examples([str(n) for n in range(6)], LABELS, ["a", "b"], parts, frames)
    for name in ("out", "classifier", "examples"):
        (tmp_path / name).mkdir()
    examples.write(table, {}, tmp_path / "examples")
    model = classification.build(table).network(resnet3d.build(MODEL), 0.0)
    weights.save(model, MODEL, tmp_path / "classifier" / "classifier.safetensors")
    said: list[str] = []
    built: list[Watched] = []
    seen = []

    def build(found: Examples) -> Watched:
        built.append(Watched(found, said))
        return built[0]

    def outputs_of(module: object, source: stage.ViewBatches, *rest: object) -> torch.Tensor:
        said.append("outputs")
        seen.append(source)
        return torch.zeros(len(source.numbers), 2)

    monkeypatch.setattr(stage, "ClipStore", lambda path: Named())
    monkeypatch.setattr(stage, "outputs_of", outputs_of)
    views = schema.Views(clips=2, crops=3, batch_size=4, average="softmax", topk=[1])
    key = {"row": "toy", "test": "toy", "seed": "0", "split": "1"}
    inputs = {name: (tmp_path / name,) for name in ("classifier", "examples", "shards")}
    modules = {"objective": SimpleNamespace(build=build)}
    job = Job("test", key, inputs, tmp_path / "out", tmp_path / "scratch", 1, modules)
    clip = schema.Clip(frames=2, stride=1, size=16)
    stage.run(job, SimpleNamespace(clip=clip, sampling="cover", test=views))
    (source,) = seen
    assert source.numbers.tolist() == [2] * 6 + [4] * 6 + [5] * 6
    assert (source.spread, source.crops) == (2, 3)
    assert source.chosen.sampling == "cover"
    assert [*source.chosen.videos] == [2, 4, 5]
    assert source.chosen.frames is None if frames is None else [*source.chosen.frames] == [4, 5, 9]
    assert built[0].known == [2, 4, 5]
    assert said == ["testing", "outputs"]
    with np.load(tmp_path / "out/predictions.npz") as stored:
        assert stored["labels"].tolist() == [0, 1, 0]
