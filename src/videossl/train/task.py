"""What is trained, as the training step and the loop see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from videossl.data.loading.augment import SLOWFAST, Colours
from videossl.data.loading.loader import Batch


class Task(ABC):
    """A network and what one batch teaches it.

    Attributes:
        module: its parameters and buffers are all the state of the task, but for ``extra``.
        colours: what clips are normalised by: the network's own.
    """

    module: nn.Module
    colours: Colours = SLOWFAST

    def prepare(self, clips: list[Tensor], batch: Batch) -> list[Tensor]:
        """What ``step`` gets of a batch's clips; on the CPU it runs ahead, beside other steps."""
        return clips

    @abstractmethod
    def step(
        self, clips: list[Tensor], batch: Batch, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """Add the gradients of one batch; returns detached scalars, ``loss`` among them."""

    def factor(self, name: str) -> float:
        """What the learning rate of the parameter of that name is multiplied by."""
        return 1.0

    def after_step(self, progress: float) -> None:
        """Runs after each optimiser step; ``progress`` is the share of training done, in (0, 1]."""
        return

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Runs after each epoch; returns more columns of the curve."""
        return {}

    def extra(self) -> dict[str, Any]:
        """State beside the module's, for the checkpoint."""
        return {}

    def restore(self, extra: dict[str, Any]) -> None:
        """Take back what ``extra`` gave."""
        return
