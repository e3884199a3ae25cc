"""Where tensors live."""

from __future__ import annotations

import torch
from torch import nn


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(module: nn.Module, where: torch.device) -> None:
    """Move a module to ``where`` in place, in the layout that 3D convolutions are fastest in."""
    module.to(where).to(memory_format=torch.channels_last_3d)


def readers(where: torch.device, threads: int) -> int:
    """Processes that read clips: the threads beyond the first, where the CPU has nothing else."""
    return threads - 1 if where.type == "cuda" else 0
