"""bfloat16 is refused where its gradients are wrong."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from videossl.job import UserError
from videossl.train import precision

CPU = torch.device("cpu")
DEVICE = torch.device("meta")  # any that is no CPU


def test_the_gradient_is_that_of_the_convolution():
    gradient = precision._weight_gradient(torch.float64, CPU, torch.contiguous_format)
    generator = torch.Generator().manual_seed(0)
    c, t, s = precision.CHANNELS, precision.FRAMES, precision.SIDE
    x = torch.randn(precision.BATCH, c, t, s, s, generator=generator).double()
    w = (torch.randn(c, c, 3, 3, 3, generator=generator) / c).double()
    padded = F.pad(x, (1,) * 6)
    out = F.conv3d(padded, w)
    for dt, dy, dx in ((0, 0, 0), (1, 1, 1), (2, 0, 1)):  # of a few places of the kernel
        seen = padded[:, :, dt : dt + t, dy : dy + s, dx : dx + s]
        expected = 2 * torch.einsum("botyx,bityx->oi", out, seen) / out.numel()
        torch.testing.assert_close(
            gradient[:, :, dt, dy, dx].double(), expected, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("factor", [1.0, 1.02])
def test_rounding_passes(monkeypatch, factor):
    monkeypatch.setattr(precision, "_weight_gradient", faulty(factor))
    precision.check(DEVICE)


@pytest.mark.parametrize("factor", [0.0, 1.2, -1.0, 1e34, float("nan"), float("inf")])
def test_wrong_gradients_are_refused(monkeypatch, factor):
    monkeypatch.setattr(precision, "_weight_gradient", faulty(factor))
    with pytest.raises(UserError, match=r"precision = 'bfloat16': on this device gradients"):
        precision.check(DEVICE)


def faulty(factor: float):
    """A device whose gradients in bfloat16 are the right ones times ``factor``."""
    right = torch.linspace(-1, 1, 64)

    def gradient(dtype: torch.dtype, *_: object) -> torch.Tensor:
        return right if dtype == torch.float32 else right * factor

    return gradient


def test_a_cpu_is_refused():
    with pytest.raises(UserError, match="wrong gradients on the CPU"):
        precision.check(CPU)


def test_the_report_names_both_layouts():
    line = precision.report(CPU)
    assert line.startswith("contiguous ")
    assert "; channels_last_3d " in line
    assert line.count(" ms") == 4
