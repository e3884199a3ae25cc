"""Clips as a network is given them, turned back into small pictures for a reader."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videossl.data.loading.augment import Colours

FRAMES = 6  # at most, spread evenly over the clip
SIDE = 48  # pixels, at most


@torch.no_grad()
def thumbnails(clips: Tensor, colours: Colours) -> NDArray[np.uint8]:
    """A few small frames of each clip.

    Args:
        clips: (B, C, T, S, S) of any floating type, on any device. Of 3 channels: normalised by
            ``colours``, which is undone. Of 2: flow; direction becomes hue and length becomes
            light, the longest vector of a clip being full light. Of 1: levels from 0 to 1.
        colours: of the network that sees the clips.

    Returns:
        (B, F, side, side, 3) RGB.
    """
    count = clips.shape[2]
    chosen = np.linspace(0, count - 1, min(count, FRAMES)).round().astype(int)
    x = clips.detach()[:, :, chosen].float().cpu().contiguous()
    if x.shape[1] == 3:
        mean, std = colours.on(x)
        x = x * std + mean
    levels = x.permute(0, 2, 3, 4, 1).numpy()  # (B, F, S, S, C)
    if levels.shape[-1] == 2:
        levels = _flow(levels)
    pictures = np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:-1], 3)))
    side = min(SIDE, pictures.shape[2])
    small = [
        [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in clip]
        for clip in pictures
    ]
    return (np.array(small).clip(0, 1) * 255).round().astype(np.uint8)


def _flow(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (B, F, S, S, 2) as RGB from 0 to 1."""
    length = np.linalg.norm(vectors, axis=-1)
    longest = length.max(axis=(1, 2, 3), keepdims=True)
    light = np.divide(length, longest, out=np.zeros_like(length), where=longest > 0)
    hue = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360
    hsv = np.stack([hue, np.ones_like(hue), light], axis=-1).astype(np.float32)
    shape = hsv.shape
    rgb = cv2.cvtColor(hsv.reshape(-1, 1, 3), cv2.COLOR_HSV2RGB)
    return np.asarray(rgb, np.float32).reshape(shape)
