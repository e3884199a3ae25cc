"""Crop, resize and flip clips: bilinear with antialiasing, each clip by its own draw."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from videossl.data.loading.fields import GEOMETRY, Field


def crop(clips: Tensor, draws: Tensor, size: int) -> Tensor:
    """Crop, resize and flip only.

    Bytes on the CPU are resized to bytes, by torch's integer filter; all else is computed in
    float32. The two differ by the rounding to whole levels.

    Args:
        clips: (B, T, H, W, C), any type; frames smaller than the batch's are padded at the right
            and bottom, and their crops lie inside them.
        draws: (B, FIELDS) float32 on the same device, see ``fields.py``.
        size: height and width of the result in pixels.

    Returns:
        (B, C, T, size, size) float32, in the values of ``clips``; memory that the caller may
        overwrite.
    """
    # the filter for bytes is three times as fast for channels that lie together
    if clips.dtype == torch.uint8 and clips.device.type == "cpu" and clips.shape[-1] == 3:
        return _bytes(clips, draws, size)
    return _dense(clips, draws, size)


def _bytes(clips: Tensor, draws: Tensor, size: int) -> Tensor:
    b, t, _, _, c = clips.shape
    out = clips.new_empty(b, t, size, size, c)
    for clip, row, resized in zip(clips, draws[:, GEOMETRY].int().tolist(), out, strict=True):
        y, x, height, width, flip = row
        frames = clip[:, y : y + height, x : x + width].permute(0, 3, 1, 2)
        frames = F.interpolate(frames, (size, size), mode="bilinear", antialias=True)
        resized.copy_((frames.flip(-1) if flip else frames).permute(0, 2, 3, 1))
    return out.permute(0, 4, 1, 2, 3).float()


def _dense(clips: Tensor, draws: Tensor, size: int) -> Tensor:
    """All clips at once: each axis is resized by one batched product."""
    b, t, h, w, c = clips.shape
    # (B, H, T x C x W) and (B, S x T x C, W)
    x = clips.permute(0, 2, 1, 4, 3).reshape(b, h, t * c * w).float()
    rows = resize_weights(draws[:, Field.Y], draws[:, Field.HEIGHT], h, size)
    columns = resize_weights(draws[:, Field.X], draws[:, Field.WIDTH], w, size)
    columns = torch.where(draws[:, Field.FLIP, None, None] > 0, columns.flip(1), columns)
    x = torch.bmm(rows, x).view(b, size * t * c, w)
    x = torch.bmm(x, columns.transpose(1, 2)).view(b, size, t, c, size)
    return x.permute(0, 3, 2, 1, 4)


def resize_weights(start: Tensor, extent: Tensor, n_in: int, n_out: int) -> Tensor:
    """Rows of weights that crop and resize one axis, bilinear with antialiasing.

    Args:
        start, extent: (B,) crop in input pixels.

    Returns:
        (B, n_out, n_in): each output pixel's triangle filter, widened when the crop shrinks; the
        same as ``interpolate(mode="bilinear", antialias=True)`` of the cropped image.
    """
    scale = (extent / n_out)[:, None, None]
    radius = scale.clamp(min=1)
    out = torch.arange(n_out, device=start.device, dtype=torch.float32)[None, :, None]
    pixel = torch.arange(n_in, device=start.device, dtype=torch.float32)[None, None, :] + 0.5
    centres = start[:, None, None] + (out + 0.5) * scale
    weights = (1 - (pixel - centres).abs() / radius).clamp(min=0)
    # pixels outside the crop do not bleed in
    inside = (pixel > start[:, None, None]) & (pixel < (start + extent)[:, None, None])
    weights = weights * inside
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)
