"""Whether bfloat16 gives right gradients on a device, and which memory layout is faster there."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn import functional as F

from videossl.job import UserError

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last_3d": torch.channels_last_3d}
CHANNELS, FRAMES, SIDE, BATCH = 64, 2, 14, 8  # a late stage's maps: two frames are the worst case
TOLERANCE = 0.05  # of the largest weight gradient; bfloat16 rounds to 1 in 256
REPEATS = 5


def gradient_error(device: torch.device, layout: torch.memory_format) -> float:
    """How far a 3x3x3 convolution's weight gradient in bfloat16 is from that in float32.

    The largest difference over the largest value; not a number if any gradient is none.
    """
    exact = _weight_gradient(torch.float32, device, torch.contiguous_format)
    found = _weight_gradient(torch.bfloat16, device, layout)
    return float((found.float() - exact).abs().max() / exact.abs().max())


def seconds(device: torch.device, layout: torch.memory_format, dtype: torch.dtype) -> float:
    """The shortest of some forward and backward passes of that convolution."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        _weight_gradient(dtype, device, layout)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times)


def check(device: torch.device) -> None:
    """Refuse to train in bfloat16 where its gradients are wrong.

    Raises:
        UserError: they are, on this device, or it is a CPU: there torch 2.14's gradients of maps of
            two frames were seen to be 1e34 or nan on one kind and right on another.
    """
    if device.type == "cpu":
        raise UserError("precision = 'bfloat16': wrong gradients on the CPU; use float32, or a GPU")
    error = gradient_error(device, torch.channels_last_3d)
    if not error < TOLERANCE:  # nan is not
        raise UserError(
            f"precision = 'bfloat16': on this device gradients of 3D convolutions are off by "
            f"{error:.2g} of the largest; use float32"
        )


def report(device: torch.device) -> str:
    """A line on what is right and what is faster here."""
    found = []
    for name, layout in LAYOUTS.items():
        error = gradient_error(device, layout)
        found.append(
            f"{name} {1000 * seconds(device, layout, torch.float32):.1f} ms, in bfloat16 "
            f"{1000 * seconds(device, layout, torch.bfloat16):.1f} ms"
            f"{'' if error < TOLERANCE else f' and wrong (off by {error:.2g})'}"
        )
    return "; ".join(found)


def _weight_gradient(
    dtype: torch.dtype, device: torch.device, layout: torch.memory_format
) -> Tensor:
    """The gradient of a sum of squares, (CHANNELS, CHANNELS, 3, 3, 3)."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(BATCH, CHANNELS, FRAMES, SIDE, SIDE, generator=generator)
    kernel = torch.randn(CHANNELS, CHANNELS, 3, 3, 3, generator=generator) / CHANNELS
    x = maps.to(device, dtype).to(memory_format=layout)
    w = kernel.to(device, dtype).to(memory_format=layout).requires_grad_()
    out = F.conv3d(x, w, padding=1)
    (gradient,) = torch.autograd.grad(out.float().square().mean(), w)
    return gradient
