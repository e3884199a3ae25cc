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


def ranks_here() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def gpus() -> int:
    """NVIDIA GPUs of this machine, as its driver lists them."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def training_threads(gpus_of_job: int) -> int:
    """CPU threads of a training that has some of this machine's GPUs: its part of the cores.

    Beside a GPU the threads read clips. Without one, trainings run side by side, one thread each
    (and per rank), which gives the same bits as any other machine.
    """
    return gpus_of_job * max(1, threads() // gpus()) if gpus() else gpus_of_job


def lower_priority() -> None:
    """Give other processes priority over this thread.

    It is for a thread or process that works ahead of another. Only the calling thread's priority
    changes, as Linux keeps one for each; it cannot be undone.
    """
    os.nice(10)  # a tenth of a thread's share, where there is not enough for all


def run_jobs_with(source: str) -> None:
    """Make the processes this one starts import the package from ``source``.

    An engine's jobs then run the code that was planned with, wherever the console script is from.
    """
    rest = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([source, rest] if rest else [source])
