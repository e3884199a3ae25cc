"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, overload

from torch import Tensor, nn

from videossl.data.loading.augment import SLOWFAST, Colours


class Backbone(nn.Module, ABC):
    """A 3D network without a classifier.

    Attributes:
        colours: what its clips are normalised by; ``weights.build`` sets the entry's.
        num_features: channels of the last map, width of the pooled feature.
        stage_features: channels of each map of ``stages``.
    """

    num_features: int
    colours: Colours = SLOWFAST
    stage_features: list[int]

    @abstractmethod
    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of the stages, first to last: (B, 3, T, H, W) -> (B, C, T', H', W') each."""

    def forward_features(self, x: Tensor) -> Tensor:
        """The map before pooling: (B, 3, T, H, W) -> (B, num_features, T', H', W')."""
        return self.stages(x)[-1]

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...

    @overload
    def __call__(self, x: Tensor, maps: Literal[True]) -> list[Tensor]: ...

    def __call__(self, *args: Any, **more: Any) -> Any:
        """Typed overload of ``Module.__call__``."""
        return super().__call__(*args, **more)

    def forward(self, x: Tensor, maps: bool = False) -> Tensor | list[Tensor]:
        """Global average of the map: (B, 3, T, H, W) -> (B, num_features).

        With ``maps`` those of ``stages`` instead: a call of the module, unlike one of ``stages``,
        is what hooks and the compiler see.
        """
        return self.stages(x) if maps else self.forward_features(x).mean(dim=(2, 3, 4))
