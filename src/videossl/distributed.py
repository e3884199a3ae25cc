"""Several processes train one network: what they share, in words of the global batch.

The rows of a global batch are split in order: rank r has the r-th equal part. So rows gathered in
rank order are the rows of one process with the whole batch, and N ranks compute what one would.
Without ``torchrun`` there is one rank and nothing here communicates.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from videossl import machine

BUCKET_BYTES = 64 << 20  # of gradients that are averaged in one piece


def active() -> bool:
    """Whether there are several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if active() else 0


def world() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if active() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Join the ranks that ``torchrun`` started, for the time of the block; else do nothing."""
    if machine.ranks() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(count: int) -> slice:
    """The rows of a global batch that are this rank's; ``count`` is a multiple of the ranks."""
    part = count // world()
    return slice(rank() * part, (rank() + 1) * part)


def rows(batch: int, parts: int) -> list[int]:
    """This rank's rows of a global batch that is worked on in ``parts``, part after part."""
    size = batch // parts
    return [part * size + row for part in range(parts) for row in range(size)[share(size)]]


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks in rank order, without gradient; every rank holds as many. (B, ...)."""
    if not active():
        return x.detach()
    parts = [torch.empty_like(x) for _ in range(world())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return gather(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # every rank's loss may depend on these rows
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows :][: ctx.rows]


def gather_with_gradient(x: Tensor) -> Tensor:
    """As ``gather``; gradients of all ranks' losses flow back to the rank that made the rows."""
    return _Gather.apply(x) if active() else x


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def total(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks, with gradient."""
    return _Sum.apply(x) if active() else x


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over ranks, in pieces of ``BUCKET_BYTES``."""
    if not active():
        return
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
        if size >= BUCKET_BYTES:
            _average(bucket)
            bucket, size = [], 0
    if bucket:
        _average(bucket)


def _average(bucket: list[Tensor]) -> None:
    flat = torch.cat([tensor.flatten() for tensor in bucket])
    dist.all_reduce(flat)
    flat /= world()
    parts = torch.split(flat, [tensor.numel() for tensor in bucket])
    for tensor, mean in zip(bucket, parts, strict=True):
        tensor.copy_(mean.view(tensor.shape))


def averaged(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means of scalars over ranks."""
    if not active():
        return dict(values)
    stacked = torch.stack([value.float() for value in values.values()])
    dist.all_reduce(stacked)
    return dict(zip(values, stacked / world(), strict=True))


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; all ranks must ask."""
    if not active():
        return flag
    found = torch.tensor(float(flag), device=device)
    dist.all_reduce(found)
    return bool(found > 0)
