"""The Slow pathway alone ("Slow-only"): a 2D residual network with time in its last two stages.

Source: Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019 (table 1, slow
pathway) and "A Large-Scale Study on Unsupervised Spatiotemporal Representation Learning", CVPR 2021
(section 4 and table 5). Nothing strides or pools time. Of a bottleneck block in stages 4 and 5 the
first 1x1 convolution becomes 3x1x1. Table 5 also studies depth 18, whose blocks have no 1x1; here
the first 3x3 of a basic block in stages 4 and 5 becomes 3x3x3 (an interpretation: the paper does
not say, PySlowFast's basic blocks inflate the same convolution).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from videossl.models.backbone import Backbone
from videossl.models.initialization import he_normal
from videossl.study import schema

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# temporal kernel of a block's first convolution, per stage
TEMPORAL = (1, 1, 3, 3)
FRAMEWISE = (1, 1, 1, 1)


class Residual(nn.Module):
    """A body around a shortcut, which is projected where the shape changes; ReLU on the sum."""

    def __init__(self, body: nn.Sequential, planes_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut: nn.Module | None = None
        if stride != 1 or planes_in != planes:
            self.shortcut = nn.Sequential(
                nn.Conv3d(planes_in, planes, 1, (1, stride, stride), bias=False),
                nn.BatchNorm3d(planes),
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, planes, T, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.relu(self.body(x) + shortcut)
        return out


def bottleneck(
    planes_in: int, planes: int, temporal: int, stride: int, dilation: int = 1
) -> Residual:
    """tx1x1, 1x3x3 (which strides), 1x1x1 to ``planes``; a quarter of them between."""
    inner = planes // 4
    body = nn.Sequential(
        nn.Conv3d(planes_in, inner, (temporal, 1, 1), 1, (temporal // 2, 0, 0), bias=False),
        nn.BatchNorm3d(inner),
        nn.ReLU(inplace=True),
        nn.Conv3d(
            inner,
            inner,
            (1, 3, 3),
            (1, stride, stride),
            (0, dilation, dilation),
            (1, dilation, dilation),
            bias=False,
        ),
        nn.BatchNorm3d(inner),
        nn.ReLU(inplace=True),
        nn.Conv3d(inner, planes, 1, bias=False),
        nn.BatchNorm3d(planes),
    )
    return Residual(body, planes_in, planes, stride)


def basic(planes_in: int, planes: int, temporal: int, stride: int, dilation: int = 1) -> Residual:
    """tx3x3 (which strides), then 1x3x3."""
    kernel, steps = (temporal, 3, 3), (1, stride, stride)
    reach, around = (1, dilation, dilation), (temporal // 2, dilation, dilation)
    body = nn.Sequential(
        nn.Conv3d(planes_in, planes, kernel, steps, around, reach, bias=False),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
        nn.Conv3d(planes, planes, (1, 3, 3), 1, (0, dilation, dilation), reach, bias=False),
        nn.BatchNorm3d(planes),
    )
    return Residual(body, planes_in, planes, stride)


class Slow(Backbone):
    """Stem, which quarters height and width, and stages 2 to 5, of which the last three halve them.

    Attributes:
        num_features: channels of the last stage: 32 * width, or 8 * width for depth 18.
        stage_features: channels of the maps that ``stages`` gives.

    Args:
        depth: 18, 50 or 101 layers.
        width: channels of the stem.
        channels: of the clip.
        temporal: temporal kernel per stage; with ``FRAMEWISE`` no frame sees another.
        dilated: whether the last stage keeps height and width, and all of its 3x3 reach twice as
            far: as both papers test on AVA, with the same weights.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        channels: int = 3,
        temporal: Sequence[int] = TEMPORAL,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(channels, width, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        block, expansion = (basic, 1) if depth == 18 else (bottleneck, 4)
        self.stage_features = [expansion * width * 2**i for i in range(4)]
        self.num_features = self.stage_features[-1]
        stages = []
        for i, (before, planes) in enumerate(pairwise([width, *self.stage_features])):
            wide = dilated and i == len(TEMPORAL) - 1
            stride, reach = 1 if i == 0 or wide else 2, 2 if wide else 1
            first = block(before, planes, temporal[i], stride, reach)
            rest = (
                block(planes, planes, temporal[i], 1, reach) for _ in range(BLOCKS[depth][i] - 1)
            )
            stages.append(nn.Sequential(first, *rest))
        self.stage2, self.stage3, self.stage4, self.stage5 = stages
        he_normal(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of stages 2 to 5: (B, channels, T, H, W) -> (B, C, T, H/4, W/4) and so on."""
        maps: list[Tensor] = []
        x = self.stem(x)
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5):
            x = stage(x)
            maps.append(x)
        return maps


def build(model: schema.Slow) -> Slow:
    """The network of ``model.depth`` layers; width 64 is the published one."""
    return Slow(model.depth, model.width, dilated=model.dilated)
