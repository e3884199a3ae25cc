"""Objectives of moments compute the same on a CUDA device as on the CPU, but for rounding."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from support import specs
from videossl.data.loading.fields import FIELDS, Field
from videossl.downstream.examples import Examples
from videossl.downstream.objectives import detection, frame_classification, saliency
from videossl.models import weights
from videossl.study import schema

BOX, OTHER = [0.1, 0.2, 0.6, 0.9], [0.5, 0.0, 1.0, 0.4]
VIEWS = schema.Views(clips=1, crops=1, batch_size=4, detector_score=0.0)
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "boxes": (
        detection,
        [{"boxes": [BOX, OTHER], "classes": [[0], [1, 2]]}, {"boxes": [OTHER], "classes": [[2]]}],
        {"evaluated": [0, 1, 2], "detector": False},
    ),
    "frame_class": (frame_classification, np.array([2, 0]), {}),
    "gaze": (
        saliency,
        [
            {"points": [[0.2, 0.3], [0.9, 0.5]], "sigma": [0.1, 0.2]},
            {"points": [[0.5, 0.5]], "sigma": [0.1, 0.1]},
        ],
        {},
    ),
}


def step(objective: Any, model: Any, device: str) -> dict[str, torch.Tensor]:
    """Outputs, the loss and its gradients of a batch whose first clip is mirrored."""
    draws = torch.zeros(2, FIELDS)
    draws[0, Field.FLIP] = 1
    numbers = torch.tensor([1, 0])
    batch: Any = SimpleNamespace(example=numbers.to(device), draws=[draws.to(device)])
    clips = torch.randn(2, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    outputs = objective.forward(model, clips.to(device), batch)
    loss = objective.loss(outputs, objective.target(batch))
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    found |= {"loss": loss.detach(), "outputs": outputs.detach()}
    return {name: value.cpu() for name, value in found.items()}


@pytest.mark.gpu
@pytest.mark.parametrize("kind", CASES)
def test_cuda_equals_cpu(kind: str) -> None:
    module, targets, facts = CASES[kind]
    objective = module.build(Examples(["a", "b"], targets, ["x", "y", "z"], {}, None, facts))
    torch.manual_seed(0)
    model = objective.network(weights.build(specs.model(8)), 0.0)
    here, there = (step(objective, copy.deepcopy(model).to(d), d) for d in ("cpu", "cuda"))
    torch.testing.assert_close(there, here, atol=2e-3, rtol=2e-2)
    numbers = np.array([1, 0])
    found = objective.predictions(there["outputs"].float(), numbers, VIEWS)
    values, totals = objective.measure(found, VIEWS)
    assert values or totals
    objective.validate(there["outputs"].float(), numbers)
