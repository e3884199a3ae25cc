"""Clip-consistent augmentation on the device: one draw per clip, the same for all its frames.

``draw`` runs in the loader and is pure; ``augment`` applies the draws of a batch as a few dense
operations. ``fields.py`` names the numbers of a draw.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videossl.data.loading.fields import CROP, FACTORS, FIELDS, SEQUENCE, Field
from videossl.data.loading.resize import crop
from videossl.study.schema import Augment


class Colours(NamedTuple):
    """The mean and deviation of red, green and blue, 0 to 1, by which clips are normalised."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def on(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both as (3, 1, 1, 1), on the device and of the type of ``x``."""
        mean, std = (x.new_tensor(values).view(3, 1, 1, 1) for values in self)
        return mean, std


SLOWFAST = Colours((0.45,) * 3, (0.225,) * 3)  # the convention of SlowFast's Kinetics models
LUMA = (0.299, 0.587, 0.114)
Draw = NDArray[np.float32]


def draw(rng: np.random.Generator, spec: Augment, height: int, width: int) -> Draw:
    """Draw one clip's augmentation, shape (FIELDS,), for frames of ``height`` x ``width``."""
    out = np.zeros(FIELDS, np.float32)
    out[CROP] = _random_crop(rng, spec, height, width)
    out[Field.FLIP] = rng.random() < spec.flip
    jitter = spec.jitter
    out[FACTORS] = 1.0
    if rng.random() < jitter.probability:
        half = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
        out[FACTORS] = 1 + rng.uniform(-1, 1, 3) * half
        out[Field.HUE] = rng.uniform(-1, 1) * jitter.hue
    out[Field.GRAY] = rng.random() < spec.gray
    if rng.random() < spec.blur.probability:
        out[Field.SIGMA] = rng.uniform(spec.blur.sigma[0], spec.blur.sigma[1])
    out[SEQUENCE] = rng.permutation(3)
    return out


def centre(height: int, width: int) -> Draw:
    """The deterministic draw of testing: the largest centred square, nothing else."""
    side = min(height, width)
    return _plain((height - side) // 2, (width - side) // 2, side, side)


def squares(height: int, width: int, crops: int) -> list[Draw]:
    """Draws of the largest squares at even places along the long side; of one, the centred one."""
    if crops == 1:
        return [centre(height, width)]
    side = min(height, width)
    places = [(n * (height - side), n * (width - side)) for n in range(crops)]
    return [_plain(y // (crops - 1), x // (crops - 1), side, side) for y, x in places]


def whole(height: int, width: int) -> Draw:
    """The draw of the whole frame, stretched to a square: shares of the frame stay the same."""
    return _plain(0, 0, height, width)


def _plain(y: int, x: int, height: int, width: int) -> Draw:
    out = np.zeros(FIELDS, np.float32)
    out[CROP] = (y, x, height, width)
    out[FACTORS] = 1.0
    out[SEQUENCE] = (0, 1, 2)
    return out


def _random_crop(
    rng: np.random.Generator, spec: Augment, height: int, width: int
) -> tuple[int, int, int, int]:
    """A box of random area and log-uniform aspect ("Inception crop"); clipped if none fits."""
    low, high = np.log(spec.crop_aspect)
    smallest, largest = spec.crop_area
    for _ in range(10):
        area = rng.uniform(smallest, largest) * height * width
        aspect = math.exp(rng.uniform(low, high))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            break
    rows, columns = max(1, min(round(h), height)), max(1, min(round(w), width))
    y, x = rng.integers(0, (height - rows, width - columns), endpoint=True)
    return int(y), int(x), rows, columns


def augment(
    clips: Tensor,
    draws: Tensor,
    size: int,
    host: Tensor | None = None,
    colours: Colours = SLOWFAST,
) -> Tensor:
    """Apply one draw per clip.

    Args:
        clips, draws, size: see ``crop``; clips are uint8 with 3 channels.
        host: the draws once more, on the CPU.
        colours: what the network that sees the clips was trained with, or is.

    Returns:
        (B, 3, T, size, size) float32, channels_last_3d, normalised by ``colours``.
    """
    host = draws.cpu() if host is None else host
    b, t = clips.shape[:2]
    x = crop(clips, draws, size).contiguous().view(b, 3, -1).mul_(1 / 255)
    x = _colour(x, draws).view(b, 3, t, size, size)
    # where to look is decided on the host: asking the device would wait for it
    hued = ((host[:, Field.HUE] != 0) & (host[:, Field.GRAY] == 0)).nonzero()[:, 0]
    blurred = host[:, Field.SIGMA].nonzero()[:, 0]
    x = _hue(x, draws[:, Field.HUE], hued.to(x.device, non_blocking=True))
    x = _blur(x, draws[:, Field.SIGMA], blurred.to(x.device, non_blocking=True))
    mean, std = colours.on(x)
    return x.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last_3d)


def _colour(x: Tensor, draws: Tensor) -> Tensor:
    """Brightness, contrast, saturation in each clip's order, then gray: one 3x4 map per clip.

    x: (B, 3, N) in 0..1. The intermediate results are not clamped, only the last one is.
    """
    luma = x.new_tensor(LUMA)
    eye = torch.eye(3, device=x.device).expand(len(x), 3, 3)
    to_gray = luma.expand(3, 3)
    b, c, s = draws[:, FACTORS, None, None].unbind(dim=1)  # each (B, 1, 1)
    maps = torch.stack([eye * b, eye * c, eye * s + to_gray * (1 - s)], 1)  # (B, 3, 3, 3)
    mean = x.mean(-1, keepdim=True)  # (B, 3, 1) of the clip, for contrast
    matrix, offset = eye, torch.zeros_like(mean)
    for which in draws[:, SEQUENCE].long().unbind(dim=1):
        chosen = maps[torch.arange(len(x), device=x.device), which]
        level = luma @ (matrix @ mean + offset)  # (B, 1) mean gray level so far
        matrix, offset = chosen @ matrix, chosen @ offset
        shift = torch.where(which[:, None] == 1, (1 - c[:, :, 0]) * level, 0.0)
        offset = offset + shift[:, :, None]
    gray = draws[:, Field.GRAY, None, None]
    final = gray * to_gray + (1 - gray) * eye
    return torch.baddbmm(final @ offset, final @ matrix, x).clamp_(0, 1)


def _hue(x: Tensor, turns: Tensor, chosen: Tensor) -> Tensor:
    """Rotate hue in HSV for the ``chosen`` clips; x: (B, 3, T, S, S) in 0..1."""
    if not len(chosen):
        return x
    from kornia.enhance import adjust_hue

    frames = x[chosen].transpose(1, 2)  # (C, T, 3, S, S)
    factor = (turns[chosen] * 2 * math.pi).repeat_interleave(frames.shape[1])
    shifted = adjust_hue(frames.flatten(0, 1), factor).view_as(frames)
    return x.index_copy(0, chosen, shifted.transpose(1, 2))


def _blur(x: Tensor, sigma: Tensor, chosen: Tensor) -> Tensor:
    """Gaussian blur of the ``chosen`` clips; x: (B, 3, T, S, S).

    Rows and columns are multiplied by each clip's own matrix, so what a clip becomes does not
    depend on the other clips of its batch. The filter ends at 3 sigma and at the border.
    """
    if not len(chosen):
        return x
    frames = x[chosen]  # (C, 3, T, S, S)
    place = torch.arange(x.shape[-1], device=x.device, dtype=torch.float32)
    distance = (place[:, None] - place[None]).abs() / sigma[chosen, None, None]  # (C, S, S)
    weights = torch.exp(-0.5 * distance.square()) * (distance <= 3)
    weights = (weights / weights.sum(-1, keepdim=True))[:, None, None]
    return x.index_copy(0, chosen, weights @ frames @ weights.transpose(-1, -2))
