"""What the tests of the ρ methods share: small ones, and both modes held against one another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

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


def in_mode(method: Any, mode: str) -> Any:
    """The same method in another mode."""
    twin = copy.deepcopy(method)
    twin.mode = mode
    return twin


def without_convolutions() -> nn.Sequential:
    """oneDNN's bfloat16 weight gradient of conv3d is garbage for 2 frames (torch 2.14)."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 16 * 16, 32), nn.BatchNorm1d(32))
    encoder.num_features = 32  # type: ignore[assignment]
    return encoder


def assert_modes_agree_under_autocast(
    method: Any, gradients: Callable[[Any], dict[str, Tensor]], loss: float, cosine: float
) -> None:
    """Both modes in bfloat16 are close to one another, and to full precision.

    ``loss`` is the relative error of the loss that is allowed, ``cosine`` the least similarity of
    the gradients.
    """
    batch, video, found = clips(3), torch.arange(5), []
    for mode, enabled in (("parallel", False), ("sequential", True), ("parallel", True)):
        twin = in_mode(method, mode)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = twin.training_step(batch, video, lambda x: x.backward())
        assert out["loss"].dtype == torch.float32
        gradient = torch.cat([g.flatten() for g in gradients(twin).values()])
        found.append((out["loss"].item(), gradient))
    (exact, wide), (rough, narrow), (_, together) = found
    assert rough == pytest.approx(exact, rel=loss)
    assert torch.cosine_similarity(narrow, wide, dim=0) > cosine
    torch.testing.assert_close(narrow, together, rtol=0.05, atol=0.02 * wide.abs().max().item())
