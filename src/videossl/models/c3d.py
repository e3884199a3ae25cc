"""C3D with batch norm: eight 3x3x3 convolutions and global average pooling.

Source: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015
(section 3.2, figure 3), in the form that the self-supervised literature compares on since Xu et
al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019: batch
norm after every convolution, no fc6 and fc7. The convolutions have no bias because batch norm
removes it; ``official.py`` folds the bias of released weights into the running mean, which is
exact. Pools round up, so that no clip is too small: at 16x112x112 this changes nothing.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from videossl.models.backbone import Backbone
from videossl.models.initialization import he_normal
from videossl.study import schema

CONVOLUTIONS = (1, 1, 2, 2, 2)  # per stage


class C3D(Backbone):
    """Five stages with a max pool between; the first pool halves space only, the others time too.

    Attributes:
        num_features: channels of the last stage, 8 * width.
        stage_features: channels of the maps that ``stages`` gives.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        planes = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.num_features = planes[-1]
        self.stage_features = planes[1:]
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = (
            _stage(before, after, depth)
            for (before, after), depth in zip(pairwise([3, *planes]), CONVOLUTIONS, strict=True)
        )
        self.pool_space = nn.MaxPool3d((1, 2, 2), ceil_mode=True)
        self.pool = nn.MaxPool3d(2, ceil_mode=True)
        he_normal(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of stages two to five: (B, 3, T, H, W) -> (B, C, T, H/2, W/2) and so on."""
        maps = [self.stage2(self.pool_space(self.stage1(x)))]
        for stage in (self.stage3, self.stage4, self.stage5):
            maps.append(stage(self.pool(maps[-1])))
        return maps


def _stage(planes_in: int, planes: int, depth: int) -> nn.Sequential:
    first = _convolution(planes_in, planes)
    return nn.Sequential(first, *(_convolution(planes, planes) for _ in range(depth - 1)))


def _convolution(planes_in: int, planes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(planes_in, planes, 3, padding=1, bias=False),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
    )


def build(model: schema.C3D) -> C3D:
    """C3D of ``model.width`` channels in the first stage; 64 is the published network."""
    return C3D(model.width)
