"""Where tensors live."""

from __future__ import annotations

import ctypes

import torch
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def pick_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(module: nn.Module, device: torch.device) -> None:
    """Move a module to ``device`` in place, in the layout that 3D convolutions are fastest in."""
    module.to(device).to(memory_format=torch.channels_last_3d)


def readers(device: torch.device, threads: int) -> int:
    """Processes that read clips: the threads beyond the first beside a GPU, one without."""
    return max(1, threads - 1) if device.type == "cuda" else 1


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of giving it back after every large tensor.

    Each step frees and asks for the same blocks; on the CPU their pages cost a tenth of it. Without
    glibc nothing changes.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
