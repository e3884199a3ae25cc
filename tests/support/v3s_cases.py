"""What the tests of V3S share."""

import math

import numpy as np
import torch

from support.specs import COLOURS, references
from videossl.methods import v3s
from videossl.models import resnet3d
from videossl.study import schema

SAMPLING = {
    "ratios": [1.0, 2.0, 0.5],
    "sides": ["none", "left", "right", "up", "down"],
    "shortening": [0.5, 0.7],
    "rates": [1, 2, 4, 8],
    "exponents": [1.0, 1.5, 0.67],
    "heads": "separate",
}
CHANCE = math.log(3) + math.log(5) + math.log(4) + math.log(3)
RATIO, SIDE, RATE, EXPONENT = range(4)


def build(frames=8, size=16, width=4, task=None, **changes):
    params = {
        "task": "sampling",
        "motion": "none",
        "clips": 1,
        "frame_jitter": 0.0,
        "scale_weight": 1.0,
        "projection_weight": 1.0,
        "rate_weight": 1.0,
        "acceleration_weight": 1.0,
        **references("v3s"),
    }
    encoder = resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=width, **COLOURS))
    sampling = schema.Sampling(**{**SAMPLING, **(task or {})})
    clip = schema.Clip(frames=frames, stride=4, size=size)
    return v3s.build(schema.V3S(**{**params, **changes}), sampling, clip, encoder)


def targets(method, batch=6, num_frames=64, seed=0):
    rows = [
        [x for r in method.requests(np.random.default_rng([seed, b]), num_frames) for x in r.target]
        for b in range(batch)
    ]
    return torch.tensor(rows)
