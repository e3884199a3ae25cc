"""Inception-v1 in 3D: I3D, and S3D and S3D-G with separable convolutions, S3D-G with gates.

Sources: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, figure 3 (I3D: every
convolution and pool of Inception-v1 has a third dimension). Xie et al., "Rethinking Spatiotemporal
Feature Learning: Speed-Accuracy Trade-offs in Video Classification", ECCV 2018: separable
convolutions in section 4.3 and figure 6, gating after each temporal convolution in section 4.4.
The planes of the blocks are those of Inception-v1. (Other code gates all four branches of a block,
which adds 0.46M parameters.) Batch norm has epsilon 1e-3 and momentum 1e-3 as in the TensorFlow
original of S3D-G and in RSPNet's code: running statistics follow only after some thousand steps.
Padding is the same on both sides, where TensorFlow's is one longer at the end of an even side.

The paper's stem strides space in its 1x7x7 and time in its 7x1x1 convolution. RSPNet's code strides
both in the 1x7x7, so every second frame is never seen; ``skip_frames`` builds that one, for its
released weights. Both have the same weights' shapes, but they compute different things.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from videossl.models.backbone import Backbone
from videossl.models.initialization import he_normal
from videossl.study import schema

# Planes of each Inception block at width 64: 1x1; 1x1 before 3x3, 3x3; the same again; after pool.
INCEPTION = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
Triple = tuple[int, int, int]


def convolution(planes_in: int, planes: int, kernel: Triple, stride: Triple) -> nn.Sequential:
    """A padded convolution with batch norm and ReLU."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(planes_in, planes, kernel, stride, padding, bias=False),
        nn.BatchNorm3d(planes, eps=1e-3, momentum=1e-3),
        nn.ReLU(inplace=True),
    )


class Separable(nn.Module):
    """1xkxk in space, then kx1x1 in time."""

    def __init__(
        self, planes_in: int, planes: int, size: int, strides: tuple[Triple, Triple]
    ) -> None:
        super().__init__()
        self.space = convolution(planes_in, planes, (1, size, size), strides[0])
        self.time = convolution(planes, planes, (size, 1, 1), strides[1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, planes, T', H', W')."""
        out: Tensor = self.time(self.space(x))
        return out


class Joint(nn.Sequential):
    """kxkxk at once, as in I3D; it strides what a separable one strides in its two parts."""

    def __init__(
        self, planes_in: int, planes: int, size: int, strides: tuple[Triple, Triple]
    ) -> None:
        time, height, width = (space * after for space, after in zip(*strides, strict=True))
        kernel, stride = (size, size, size), (time, height, width)
        super().__init__(*convolution(planes_in, planes, kernel, stride))


class GatedSeparable(Separable):
    """A separable convolution, each of whose channels is scaled by a gate of the pooled map."""

    def __init__(
        self, planes_in: int, planes: int, size: int, strides: tuple[Triple, Triple]
    ) -> None:
        super().__init__(planes_in, planes, size, strides)
        self.gate = nn.Conv3d(planes, planes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, planes, T', H', W')."""
        x = super().forward(x)
        gate: Tensor = self.gate(x.mean(dim=(2, 3, 4), keepdim=True)).sigmoid()
        return x * gate


Kind = type[Joint | Separable]


class Inception(nn.Module):
    """Four branches side by side: 1x1x1, two 3x3x3 behind one, and a max pool."""

    def __init__(self, planes_in: int, planes: list[int], spatiotemporal: Kind) -> None:
        super().__init__()
        one, once = (1, 1, 1), ((1, 1, 1), (1, 1, 1))
        straight, reduce1, planes1, reduce2, planes2, pooled = planes
        self.branch0 = convolution(planes_in, straight, one, one)
        self.branch1 = nn.Sequential(
            convolution(planes_in, reduce1, one, one), spatiotemporal(reduce1, planes1, 3, once)
        )
        self.branch2 = nn.Sequential(
            convolution(planes_in, reduce2, one, one), spatiotemporal(reduce2, planes2, 3, once)
        )
        self.branch3 = nn.Sequential(
            nn.MaxPool3d(3, 1, padding=1), convolution(planes_in, pooled, one, one)
        )
        self.num_features = straight + planes1 + planes2 + pooled

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, num_features, T, H, W)."""
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        return torch.cat([branch(x) for branch in branches], dim=1)


class InceptionNet(Backbone):
    """I3D, S3D or S3D-G, by what ``spatiotemporal`` convolutions are.

    Five stages with max pools between; time is halved in the stem and before stages 4 and 5.

    Attributes:
        num_features: channels of the last stage, 16 * width.
        stage_features: channels of the maps that ``stages`` gives.
    """

    def __init__(self, width: int, spatiotemporal: Kind, skip_frames: bool = False) -> None:
        super().__init__()
        self.num_features = 16 * width
        strides = ((2, 2, 2), (1, 1, 1)) if skip_frames else ((1, 2, 2), (2, 1, 1))
        self.stage1 = spatiotemporal(3, width, 7, strides)
        self.stage2 = nn.Sequential(
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            convolution(width, width, (1, 1, 1), (1, 1, 1)),
            spatiotemporal(width, 3 * width, 3, ((1, 1, 1), (1, 1, 1))),
        )
        pools = [
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            nn.MaxPool3d(3, 2, padding=1),
            nn.MaxPool3d(2, 2, ceil_mode=True),  # as TensorFlow's SAME: never empty
        ]
        planes = [3 * width, 480 * width // 64, 832 * width // 64]
        self.stage3, self.stage4, self.stage5 = (
            _stage(number, pool, before, width, spatiotemporal)
            for number, pool, before in zip("345", pools, planes, strict=True)
        )
        self.stage_features = [*planes, self.num_features]
        he_normal(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of stages two to five, each (B, C, T, H, W) of its depth."""
        maps = [self.stage2(self.stage1(x))]
        for stage in (self.stage3, self.stage4, self.stage5):
            maps.append(stage(maps[-1]))
        return maps


def _stage(
    number: str, pool: nn.Module, planes_in: int, width: int, spatiotemporal: Kind
) -> nn.Sequential:
    """A pool and the Inception blocks whose names start with ``number``."""
    table = [planes for name, planes in INCEPTION.items() if name[0] == number]
    scaled = [[count * width // 64 for count in planes] for planes in table]
    totals = [planes_in, *(p[0] + p[2] + p[4] + p[5] for p in scaled)]
    blocks = (
        Inception(before, p, spatiotemporal)
        for (before, _), p in zip(pairwise(totals), scaled, strict=True)
    )
    return nn.Sequential(pool, *blocks)


KINDS: dict[str, Kind] = {"i3d": Joint, "s3d": Separable, "s3dg": GatedSeparable}


def build(model: schema.Inception) -> InceptionNet:
    """The network, whose planes are ``model.width`` / 64 of the published ones."""
    return InceptionNet(model.width, KINDS[model.name])
