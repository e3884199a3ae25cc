"""What the ρ methods share: ρ clips of a video, each in the same role.

Source: Feichtenhofer et al., "A Large-Scale Study on Unsupervised Spatiotemporal Representation
Learning", CVPR 2021, section 3.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.methods.base import Method
from videossl.study import schema


class RhoMethod(Method):
    """Asks for max(ρ, 2) views of a video; with ρ = 1 they show the same frames.

    In ``sequential`` mode the activations of one clip are held at a time; in ``parallel`` mode
    those of all. The gradients are the same: each clip passes alone, so BN sees the same batches.
    """

    def __init__(
        self, params: schema.RhoBlock, rho: int, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(encoder)
        self.mode, self.rho, self.clip = params.mode, rho, clip
        self.span = self.reach(params, rho, clip).frames

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """ρ windows at independent times, or for ρ = 1 one window twice; a draw for each."""
        starts = [sampling.random_start(rng, num_frames, self.span) for _ in range(self.rho)]
        if self.rho == 1:
            starts = starts * 2
        length, stride = self.clip.frames, self.clip.stride
        return [
            ClipRequest(sampling.window(num_frames, start, length, stride), draw_id)
            for draw_id, start in enumerate(starts)
        ]

    @abstractmethod
    def step(
        self, clips: list[Tensor], video: Tensor, consume: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """One clip after the other: hands parts of the loss to ``consume``, returns scalars."""

    def training_step(
        self,
        clips: list[Tensor],
        video: Tensor,
        backward: Callable[[Tensor], None],
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As the base class, or with the activations of one clip at a time."""
        if self.mode == "parallel":
            return super().training_step(clips, video, backward, labels)
        return self.step(clips, video, backward)


class SequentialRhoMethod(RhoMethod):
    """A ρ method whose loss is a sum over its clips, each of which can pass alone."""

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; holds the activations of all clips."""
        parts: list[Tensor] = []
        out = self.step(clips, video, parts.append)
        return {**out, "loss": torch.stack(parts).sum()}


@contextmanager
def unmoved(*modules: nn.Module) -> Iterator[None]:
    """Put the buffers back at the end: what passes again counts once in running statistics."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


def momentum(params: schema.RhoMoCo | schema.RhoBYOL, progress: float) -> float:
    """The momentum encoder's momentum: constant, or from its base to 1 along half a cosine."""
    if params.momentum_schedule == "constant":
        return params.momentum
    return 1 - (1 - params.momentum) * (math.cos(math.pi * progress) + 1) / 2
