"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A 3D network without a classifier.

    Attributes:
        num_features: channels of the last map, width of the pooled feature.
        stage_features: channels of each map of ``stages``.
    """

    num_features: int
    stage_features: list[int]

    @abstractmethod
    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of the stages, first to last: (B, 3, T, H, W) -> (B, C, T', H', W') each."""

    def forward_features(self, x: Tensor) -> Tensor:
        """The map before pooling: (B, 3, T, H, W) -> (B, num_features, T', H', W')."""
        return self.stages(x)[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Global average of the map: (B, 3, T, H, W) -> (B, num_features)."""
        return self.forward_features(x).mean(dim=(2, 3, 4))
