"""3D residual networks with basic blocks: R3D, MC3 and R(2+1)D.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
CVPR 2018 (section 3, table 1). Stage sizes, parameter names and the middle planes (computed once
per block, from the block's own input and output) are those of torchvision's ``r3d_18``,
``mc3_18`` and ``r2plus1d_18`` so that their weights fit; ``blocks`` and ``width`` are free.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from videossl.models.backbone import Backbone
from videossl.models.initialization import he_normal
from videossl.study import schema

# (planes in, planes out, middle planes, stride) -> a 3x3x3 convolution, whole or factorised
Convolution = Callable[[int, int, int, int], nn.Module]


def middle_planes(planes_in: int, planes_out: int) -> int:
    """Planes between the two factors, so that they hold as many weights as one 3x3x3 (sec. 3.5)."""
    return 27 * planes_in * planes_out // (9 * planes_in + 3 * planes_out)


def whole(planes_in: int, planes_out: int, middle: int, stride: int) -> nn.Module:
    """A full 3x3x3 convolution; ``middle`` plays no part."""
    return nn.Conv3d(planes_in, planes_out, 3, stride, padding=1, bias=False)


def factorised(planes_in: int, planes_out: int, middle: int, stride: int) -> nn.Module:
    """A (2+1)D convolution: 1x3x3 in space, then 3x1x1 in time, with BN and ReLU between."""
    return nn.Sequential(
        nn.Conv3d(planes_in, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, planes_out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


def spatial(planes_in: int, planes_out: int, middle: int, stride: int) -> nn.Module:
    """A 1x3x3 convolution, of frame by frame; ``middle`` plays no part."""
    return nn.Conv3d(planes_in, planes_out, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)


def whole_stem(width: int) -> nn.Sequential:
    """R3D's stem: one 3x7x7 convolution that halves height and width."""
    return nn.Sequential(
        nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def factorised_stem(width: int, middle: int) -> nn.Sequential:
    """R(2+1)D's stem: 1x7x7, which halves height and width, to ``middle`` planes, then 3x1x1."""
    return nn.Sequential(
        nn.Conv3d(3, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, width, (3, 1, 1), 1, (1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut, which is projected where the shape changes."""

    def __init__(self, planes_in: int, planes: int, stride: int, convolution: Convolution) -> None:
        super().__init__()
        middle = middle_planes(planes_in, planes)
        self.conv1 = nn.Sequential(
            convolution(planes_in, planes, middle, stride),
            nn.BatchNorm3d(planes),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(convolution(planes, planes, middle, 1), nn.BatchNorm3d(planes))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or planes_in != planes:
            in_time = 1 if convolution is spatial else stride
            self.downsample = nn.Sequential(
                nn.Conv3d(planes_in, planes, 1, (in_time, stride, stride), bias=False),
                nn.BatchNorm3d(planes),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.conv2(self.conv1(x)) + shortcut)
        return out


class ResNet3d(Backbone):
    """Stem and four stages; stages two to four halve height and width, and time unless ``mixed``.

    Attributes:
        num_features: channels of the last stage, 8 * width.
        stage_features: channels of the maps that ``stages`` gives.

    Args:
        stem: what comes before the stages.
        convolution: makes those of the blocks.
        blocks: how many each stage has.
        width: channels of the first stage.
        mixed: from the second stage on convolutions see single frames (MC3).
    """

    def __init__(
        self,
        stem: nn.Sequential,
        convolution: Convolution,
        blocks: list[int],
        width: int,
        mixed: bool = False,
    ) -> None:
        super().__init__()
        self.num_features = 8 * width
        self.stem = stem
        planes = [width, width, 2 * width, 4 * width, 8 * width]
        self.stage_features = planes[1:]
        kinds = [convolution, *[spatial if mixed else convolution] * 3]
        stages = [
            _stage(planes[i], planes[i + 1], depth, 1 if i == 0 else 2, kind)
            for i, (depth, kind) in enumerate(zip(blocks, kinds, strict=True))
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        he_normal(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of the four stages: (B, 3, T, H, W) -> (B, C, T, H/2, W/2) and so on."""
        maps: list[Tensor] = []
        x = self.stem(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


def _stage(
    planes_in: int, planes: int, depth: int, stride: int, convolution: Convolution
) -> nn.Sequential:
    first = BasicBlock(planes_in, planes, stride, convolution)
    rest = (BasicBlock(planes, planes, 1, convolution) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def build(model: schema.Model) -> ResNet3d:
    """The backbone that ``model`` names; (2, 2, 2, 2) blocks of width 64 make the 18-layer nets."""
    if model.name == "r2plus1d":
        middle = 45 * model.width // 64  # 45 of 64, scaled with width
        return ResNet3d(factorised_stem(model.width, middle), factorised, model.blocks, model.width)
    mixed = model.name == "mc3"
    return ResNet3d(whole_stem(model.width), whole, model.blocks, model.width, mixed)
