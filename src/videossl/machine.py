"""What the machine, the scheduler or the engine gives this process."""

from __future__ import annotations

import os
from pathlib import Path


def threads() -> int:
    """CPU threads to use: what the engine said, else all this process may run on."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def rank() -> int:
    """This process's number among those that ``torchrun`` started; 0 without it."""
    return int(os.environ.get("RANK", "0"))


def gpus() -> int:
    """NVIDIA GPUs of this machine, as its driver lists them."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def run_jobs_with(source: str) -> None:
    """Make the processes this one starts import the package from ``source``.

    An engine's jobs then run the code that was planned with, wherever the console script is from.
    """
    rest = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([source, rest] if rest else [source])
