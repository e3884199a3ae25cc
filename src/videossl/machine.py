"""What the machine, the scheduler or the engine gives this process."""

from __future__ import annotations

import os
from pathlib import Path


def threads() -> int:
    """CPU threads to use: what the engine said, else all this process may run on."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def gpus() -> int:
    """NVIDIA GPUs of this machine, as its driver lists them."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
