"""What the tests of the ρ methods share: small ones, and both modes held against one another."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from support import specs
from videossl.methods.rho import RhoMethod
from videossl.models import resnet3d
from videossl.study import schema


def built(
    module: Any, params: Any, rho: int = 2, frames: int = 8, stride: int = 1, name: str = "r3d"
) -> Any:
    """The method of ``module`` around a small network, for clips of 16 x 16 pixels."""
    encoder = resnet3d.build(specs.model(name=name))
    return module.build(params, rho, schema.Clip(frames=frames, stride=stride, size=16), encoder)


def clips(count: int, batch: int = 5, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Noise in the shape of ``count`` clips of each video."""
    return [torch.randn(batch, 3, 8, 16, 16).to(dtype) for _ in range(count)]


def assert_modes_agree(sequential: RhoMethod, batch: list[Tensor], steps: int = 1) -> None:
    """Both take ``steps`` steps on ``batch``: same measures, gradients and state after the last.

    With more than one step, what the first leaves behind counts.
    """
    parallel = copy.deepcopy(sequential)
    parallel.mode = "parallel"
    found = []
    for method, calls in ((sequential, len(batch)), (parallel, 1)):
        scalars: list[Tensor] = []
        for _ in range(steps):
            out = method.training_step(
                batch,
                torch.arange(len(batch[0])),
                lambda x, seen=scalars: seen.append(x.detach()) or x.backward(),
            )
        assert len(scalars) == steps * calls
        assert sum(scalars[-calls:]).item() == pytest.approx(out["loss"].item(), rel=1e-9)
        assert not any(value.requires_grad for value in out.values())
        gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
        found.append((out, gradients, method.state_dict()))
    (out, ours, state), (other, theirs, expected) = found
    torch.testing.assert_close(out, other, rtol=1e-12, atol=0)
    assert ours.keys() == theirs.keys()
    largest = max(g.abs().max().item() for g in theirs.values())
    assert largest > 1e-3
    for key, value in ours.items():
        assert (value - theirs[key]).abs().max().item() <= 1e-8 * largest, key
    for key, value in state.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-12, atol=1e-15, msg=key)
