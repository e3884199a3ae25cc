"""What the clips of a batch become on the device, by the kind of each."""

from __future__ import annotations

import torch
from torch import Tensor

from videossl.data.loading.augment import SLOWFAST, Colours, augment
from videossl.data.loading.fields import Field
from videossl.data.loading.loader import Batch
from videossl.data.loading.resize import crop
from videossl.data.motion.store import SCALE, ZERO
from videossl.study.schema import Motion


def to_device_clips(batch: Batch, size: int, colours: Colours = SLOWFAST) -> list[Tensor]:
    """One tensor (B, C, T, size, size) float32 per requested clip.

    - ``augmented``: 3 channels, normalised by ``colours`` (see ``augment``);
    - ``plain``: 3 channels of grey levels 0 to 255, cropped, resized and flipped only;
    - ``motion``: cropped, resized and flipped with its own draw. Flow has 2 channels, u to
      the right and v down, in pixels of the *result* per pair of frames: resizing scales vectors,
      and a flip negates u. Edges have 1 channel, 0 to 1 of the entry's ``bound``.
    """
    found: list[Tensor] = []
    for clip, draws, host, kind in zip(
        batch.clips, batch.draws, batch.host, batch.kinds, strict=True
    ):
        if kind == "motion":
            assert batch.motion is not None  # a store of motion says how it was computed
            found.append(motion(clip, draws, size, batch.motion))
        elif kind == "plain":
            found.append(crop(clip[:, :, 0], draws, size))
        else:
            found.append(augment(clip[:, :, 0], draws, size, host, colours))
    return found


def motion(clip: Tensor, draws: Tensor, size: int, options: Motion) -> Tensor:
    """Stored motion (B, T, P, H, W, 1) uint8 under crop and flip: (B, P, T, size, size)."""
    x = clip[..., 0].permute(0, 1, 3, 4, 2)  # planes are channels from here on
    if options.content == "edges":
        return crop(x, draws, size) / 255
    # zero is no motion where frames are padded and where a filter reaches beyond the crop
    x = crop((x.float() - ZERO) * (options.bound / SCALE), draws, size)
    right, down = size / draws[:, Field.WIDTH], size / draws[:, Field.HEIGHT]
    right = torch.where(draws[:, Field.FLIP] > 0, -right, right)
    scale = torch.stack([right, down], dim=1)  # (B, 2)
    return x * scale[:, :, None, None, None]
