"""Optimisers; ``test_recorded_loop`` follows them step by step."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn

from support import ranks
from support.specs import PLAIN
from videossl.study.schema import Optimizer
from videossl.train import optim


@pytest.mark.parametrize(
    ("name", "lr"), [("sgd", 0.05), ("adamw", 0.05), ("lars", 0.1), ("lamb", 0.05)]
)
def test_each_optimiser_fits_a_line(name, lr):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    spec = Optimizer(name=name, lr=lr, momentum=0.9, weight_decay=1e-6, **PLAIN)
    optimizer = optim.build(model, spec)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    first = None
    for _ in range(150):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    # LARS moves weights by a thousandth of their norm at most
    assert loss.item() < (0.99 if name == "lars" else 0.05) * first


def _steps(number: int) -> None:
    for name in ("sgd", "adamw"):
        model = nn.Linear(3, 1)
        optimizer = optim.build(
            model, Optimizer(name=name, lr=0.1, momentum=0.9, weight_decay=0.1, **PLAIN)
        )
        optimizer.zero_grad()
        model(torch.randn(2, 3)).sum().backward()
        optimizer.step()
        assert "torch._dynamo" not in sys.modules, name


@pytest.mark.slow
def test_no_step_imports_the_compiler():
    """It takes seconds of every training."""
    ranks.start(_steps, 1)


def test_norms_and_biases_do_not_decay():
    model = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2))
    frozen = nn.Linear(2, 2).requires_grad_(False)
    model.append(frozen)
    spec = Optimizer(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.1, **PLAIN)
    decayed, plain = optim.build(model, spec).param_groups
    assert [p.shape for p in decayed["params"]] == [(2, 1, 1, 1, 1)]
    assert len(plain["params"]) == 3
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_sgd_follows_the_formula():
    weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    module = nn.Module()
    module.weight = weight
    spec = Optimizer(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01, **PLAIN)
    optimizer = optim.build(module, spec)
    w, v = 2.0, 0.0
    for _ in range(5):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
        v = 0.9 * v + (2 * w + 0.01 * w)
        w -= 0.1 * v
    assert math.isclose(weight.item(), w, rel_tol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars", "lamb"])
def test_a_weight_may_get_its_first_gradient_late(name):
    early, late = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    spec = Optimizer(name=name, lr=0.1, momentum=0.9, weight_decay=0.0, **PLAIN)
    optimizer = optim.build(nn.ModuleList([early, late]), spec)
    before = late.weight.clone()
    for step in range(3):
        assert torch.equal(late.weight, before)
        optimizer.zero_grad()
        chosen = [early] if step < 2 else [early, late]
        sum(layer(torch.ones(1, 2)).sum() for layer in chosen).backward()
        optimizer.step()
    assert not torch.equal(late.weight, before)


def test_a_part_of_the_network_has_a_rate_of_its_own():
    module = nn.ModuleDict({"encoder": nn.Linear(2, 2), "fc": nn.Linear(2, 2)})
    spec = Optimizer(name="sgd", lr=0.1, momentum=0.0, weight_decay=0.5, **PLAIN)
    factor = {"encoder.weight": 1.0, "encoder.bias": 1.0, "fc.weight": 10.0, "fc.bias": 10.0}
    groups = optim.build(module, spec, factor.__getitem__).param_groups
    found = {
        (id(p), group[optim.FACTOR], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert found == {
        (id(p), factor[name], 0.5 if name.endswith("weight") else 0.0)
        for name, p in module.named_parameters()
    }
