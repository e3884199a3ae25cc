"""What every method is, and the parts that several share: momentum encoder and queue."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from videossl import distributed
from videossl.data.loading.sampling import ClipRequest
from videossl.distributed import gather
from videossl.job import UserError
from videossl.needs import OneClip


class Method(OneClip, nn.Module, ABC):
    """A pretext task around a backbone.

    A method's module offers ``build(params, task, clip, encoder)``. What it needs of a video is
    declared by its kind (``videossl.needs``): one clip, unless the class names another kind before
    this one. The training loop does, for each batch: the clips of ``requests`` -> ``prepare`` ->
    ``training_step`` -> optimizer -> ``after_step``.
    Everything that must survive a restart is a parameter or a buffer.

    Attributes:
        encoder: the backbone, the part that is kept; it has ``num_features``.
        num_features: width of its pooled feature.
    """

    encoder: nn.Module

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_features = cast(int, encoder.num_features)

    @abstractmethod
    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """Which clips of a video of ``num_frames`` frames one step needs; always as many."""

    def prepare(self, clips: list[Tensor], labels: Tensor) -> list[Tensor]:
        """What can be made of a batch without the network, and without random numbers.

        On the CPU it runs ahead, beside the step before. Default: returns the clips unchanged.

        Args:
            clips: one tensor per request, in the order of ``requests``: (B, 3, T, S, S), or what
                ``to_device_clips`` makes of other kinds.
            labels: see ``forward``.
        """
        return clips

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """What the networks get of a batch, by name, for a reader; arguments as of ``prepare``.

        Clips of 3 channels are normalised as those of ``prepare``; motion has 2 channels or 1.
        """
        return {f"view {number}": clip for number, clip in enumerate(clips, start=1)}

    @abstractmethod
    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The loss of one batch; a queue, where there is one, moves on.

        Args:
            clips: what ``prepare`` returned.
            video: (B,) int64, which video each row comes from.
            labels: (B, N) float32, the labels of a row's requests one after another: classes,
                parameters and chances that go with the clips. Drawn there and not here, they do
                not depend on batches or ranks.

        Returns:
            ``loss``, a scalar with gradient, and detached scalar metrics.
        """

    def training_step(
        self,
        clips: list[Tensor],
        video: Tensor,
        backward: Callable[[Tensor], None],
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss and gradients of one batch; returns detached scalars, ``loss`` among them.

        ``backward`` adds the gradients of a scalar. A method may call it several times, to hold
        the activations of one clip only; the scalars then add up to ``loss``.
        """
        out: dict[str, Tensor] = self(clips, video, labels)
        backward(out["loss"])
        return {name: value.detach() for name, value in out.items()}

    def after_step(self, progress: float) -> None:
        """Runs after each optimizer step; ``progress`` is the share of training done, in [0, 1]."""
        return


class MomentumEncoder(nn.Module):
    """A slow copy of backbone and head: the network that makes keys (MoCo, He et al., CVPR 2020).

    Parameters follow the online ones as an exponential moving average and get no gradient. The copy
    is in train mode, so BN uses the statistics of its own batch; its running statistics are its own
    too: kept in checkpoints, not averaged with the online ones, and never read.

    With batch norm over groups of clips, ``shuffle_over`` spreads each group of queries over groups
    of keys: else a query and its key share a group's statistics, which give them away (MoCo,
    section 3.3). The order is that of the global batch, on one rank too.

    Attributes:
        calls: () int64, how often it ran shuffled: seeds the shuffle.
        group: clips in a group of batch norm, 0 for no shuffle.
    """

    calls: Tensor

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.head = copy.deepcopy(head)
        self.group = 0
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, clip: Tensor) -> Tensor:
        """Head of backbone of a clip (B, 3, T, S, S), without gradient."""
        if self.group:
            return self._shuffled(clip)
        out: Tensor = self.head(self.encoder(clip))
        return out

    def shuffle_over(self, group: int) -> None:
        """From now on shuffle keys over groups of ``group`` clips: fewer than the global batch."""
        self.group = group

    def _shuffled(self, clip: Tensor) -> Tensor:
        everything = distributed.gather(clip)
        order = shuffled(len(everything), self.group, int(self.calls)).to(clip.device)
        self.calls += 1
        own = distributed.share(len(everything))
        mine = self.head(self.encoder(everything[order[own]]))
        # a head may give several embeddings: rows are its next to last axis
        rows = distributed.gather(mine.movedim(-2, 0))
        back: Tensor = rows[order.argsort()][own].movedim(0, -2)
        return back

    @torch.no_grad()
    def update(self, encoder: nn.Module, head: nn.Module, momentum: float) -> None:
        """Each parameter becomes momentum * itself + (1 - momentum) * the online one."""
        online: list[Tensor] = [*encoder.parameters(), *head.parameters()]
        own: list[Tensor] = [*self.encoder.parameters(), *self.head.parameters()]
        torch._foreach_lerp_(own, online, 1 - momentum)


def shuffled(count: int, group: int, seed: int) -> Tensor:
    """A random order of a global batch, the same on all ranks, that keeps no group together.

    Args:
        count: rows of the global batch, a multiple of ``group`` and more than it.
        group: consecutive rows that share statistics, before and after.
        seed: of the order.

    Returns:
        (count,) int64.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator)
        origins = order.view(-1, group) // group
        if not (origins == origins[:, :1]).all(dim=1).any():
            return order


class Queue(nn.Module):
    """The newest ``size`` keys of all ranks, oldest replaced first, with the videos they show.

    It starts empty instead of with random vectors: empty entries are masked like entries of the
    query's own video, which never serve as negatives.

    Attributes:
        keys: (size, dim) float32, rows as given; zero where empty.
        videos: (size,) int64, -1 where empty.
        pointer: () int64, the row that is written next.
    """

    keys: Tensor
    videos: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, dim))
        self.register_buffer("videos", torch.full((size,), -1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor, videos: Tensor) -> None:
        """Add (B, dim) keys of (B,) videos, gathered over ranks; at most ``size`` at a time."""
        keys, videos = gather(keys.to(self.keys.dtype)), gather(videos)
        size, batch = len(self.keys), len(keys)
        if batch > size:
            raise UserError(
                f"queue: {size} keys, but one batch brings {batch}; allowed: >= {batch}"
            )
        # indexed on the device: reading the pointer here would wait for the device at every step
        rows = (self.pointer + torch.arange(batch, device=self.pointer.device)) % size
        self.keys[rows] = keys
        self.videos[rows] = videos
        self.pointer.add_(batch).remainder_(size)

    def mask(self, videos: Tensor) -> Tensor:
        """(B,) videos -> (B, size), True where an entry must not serve as a negative."""
        return (self.videos < 0) | (self.videos == videos.unsqueeze(1))
