"""A 2D residual network over the frames of a motion clip: MoDist's motion pathway.

Source: Xiao et al., "MoDist: Motion Distillation for Self-supervised Video Representation
Learning", 2021 (arXiv 2106.09703): a residual network whose temporal kernels are all
1, with an eighth of the visual pathway's channels. Published is depth 50 on 16 frames at stride 4;
its stem, 1x7x7, strides time by 2 and so never sees every other frame. Here nothing strides time,
and the clip holds the frames that are seen.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from videossl.models.backbone import Backbone
from videossl.models.initialization import he_normal
from videossl.models.slow import BLOCKS, basic, bottleneck


class MotionNet(Backbone):
    """Stem, which quarters height and width, and four stages, of which the last three halve them.

    Attributes:
        num_features: channels of the last stage: 32 * width, or 8 * width for depth 18.
        stage_features: channels of the maps that ``stages`` gives.

    Args:
        depth: 18, 50 or 101 layers.
        width: channels of the stem.
        channels: of the clip.
    """

    def __init__(self, depth: int, width: int, channels: int = 1) -> None:
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
        layers = []
        for i, (before, planes) in enumerate(pairwise([width, *self.stage_features])):
            first = block(before, planes, 1, 1 if i == 0 else 2)
            rest = (block(planes, planes, 1, 1) for _ in range(BLOCKS[depth][i] - 1))
            layers.append(nn.Sequential(first, *rest))
        self.layers = nn.ModuleList(layers)
        he_normal(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of the stages: (B, channels, T, H, W) -> (B, C, T, H/4, W/4) and so on."""
        maps: list[Tensor] = []
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return maps
