"""What the tests of STS share."""

import torch

from support.specs import COLOURS, references
from videossl.methods import sts
from videossl.methods import sts_labels as labels
from videossl.methods.sts_labels import NAMES, Patterns
from videossl.models import resnet3d
from videossl.study import schema

SIZE, T = 16, 5
TASK = {
    "target": "classification",
    "motion_weight": 1.0,
    "appearance_weight": 0.1,
    "levels": 256,
    "still": 1e-4,
    "curriculum": 0.0,
}
MIRROR = [4 * row + 3 - column for row in range(4) for column in range(4)]
MIRRORS = {1: MIRROR, 2: [0, 1, 2, 3], 3: [3, 2, 1, 0, 7, 6, 5, 4]}


def build(frames=T, stride=1, size=SIZE, **changes):
    encoder = resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS))
    clip = schema.Clip(frames=frames, stride=stride, size=size)
    method = schema.STS(task="statistics", motion="flow", **references("sts"))
    return sts.build(method, schema.Statistics(**{**TASK, **changes}), clip, encoder)


def noise(batch=6, frames=T, size=SIZE, palette=12):
    """Frames, colours that come back from frame to frame, and flow; which flows count."""
    levels = torch.randint(256, (palette,))
    colour = levels[torch.randint(palette, (batch, 3, frames, size, size))].float()
    flow = torch.randn(batch, 2, frames - 1, size, size)
    clips = [torch.randn(batch, 3, frames, size, size), colour, flow]
    return clips, torch.ones(batch, frames - 1)


def labelled(clips, shown, levels=256, still=1e-4):
    found = labels.label(clips[2], shown, clips[1], Patterns(clips[1].shape[-1]), levels, still)
    return [dict(zip(NAMES, row, strict=True)) for row in found.values.tolist()]
