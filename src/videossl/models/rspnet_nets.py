"""The three networks of RSPNet's released weights that differ from the published architectures.

Source: Chen et al., "RSPNet: Relative Speed Perception for Unsupervised Video Representation
Learning", AAAI 2021, and its public code. Named after the backbone each stands for:

- ``r3d_rspnet``: the 3D-ResNet of Hara et al., CVPR 2018 (table 1): 7x7x7 stem and a max pool that
  halves time too, where ``r3d`` has 3x7x7 and no pool.
- ``r2plus1d_rspnet``: R(2+1)D of Xu et al., CVPR 2019: middle planes computed for each convolution,
  the stem's included, and factorised shortcuts. Released with blocks (1, 1, 1, 1).
- ``s3dg_rspnet``: S3D-G that strides time in the 1x7x7 convolution of its stem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from videossl.models.inception import GatedSeparable, InceptionNet
from videossl.models.resnet3d import (
    BasicBlock,
    ResNet3d,
    factorised,
    factorised_stem,
    middle_planes,
    whole,
)
from videossl.study import schema


def pooled_stem(width: int) -> nn.Sequential:
    """One 7x7x7 convolution that halves space, and a max pool that halves time and space."""
    return nn.Sequential(
        nn.Conv3d(3, width, 7, (1, 2, 2), padding=3, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool3d(3, 2, padding=1),
    )


def factorised_alone(planes_in: int, planes: int, middle: int, stride: int) -> nn.Module:
    """A (2+1)D convolution whose middle planes follow from its own input, not from its block's."""
    return factorised(planes_in, planes, middle_planes(planes_in, planes), stride)


def factorised_shortcut(planes_in: int, planes: int) -> nn.Sequential:
    """The projection that halves all sizes: 1x1x1 in space, BN, ReLU, 1x1x1 in time, BN."""
    middle = planes_in * planes // (planes_in + planes)
    return nn.Sequential(
        nn.Sequential(
            nn.Conv3d(planes_in, middle, 1, (1, 2, 2), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, planes, 1, (2, 1, 1), bias=False),
        ),
        nn.BatchNorm3d(planes),
    )


def r3d(model: schema.Model) -> ResNet3d:
    """The 3D-ResNet with a pooled stem; blocks (2, 2, 2, 2) of width 64 were released."""
    return ResNet3d(pooled_stem(model.width), whole, model.blocks, model.width)


def r2plus1d(model: schema.Model) -> ResNet3d:
    """R(2+1)D with factorised shortcuts; blocks (1, 1, 1, 1) of width 64 were released."""
    # as many weights as the whole 3x7x7: 83 planes between for 64
    middle = 3 * 49 * 3 * model.width // (49 * 3 + 3 * model.width)
    stem = factorised_stem(model.width, middle)
    net = ResNet3d(stem, factorised_alone, model.blocks, model.width)
    for i, stage in enumerate((net.layer2, net.layer3, net.layer4)):
        first = stage[0]
        assert isinstance(first, BasicBlock)
        first.downsample = factorised_shortcut(model.width * 2**i, model.width * 2 ** (i + 1))
    return net


def s3dg(model: schema.Inception) -> InceptionNet:
    """S3D-G that sees every second frame."""
    return InceptionNet(model.width, GatedSeparable, skip_frames=True)


NETS: dict[str, Callable[[Any], nn.Module]] = {
    "r3d_rspnet": r3d,
    "r2plus1d_rspnet": r2plus1d,
    "s3dg_rspnet": s3dg,
}


def build(model: schema.Model | schema.Inception) -> nn.Module:
    """The network that ``model.name`` names, see the top of this file."""
    return NETS[model.name](model)
