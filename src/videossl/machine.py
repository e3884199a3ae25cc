"""What the machine, the scheduler or the engine gives this process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PRETENDED = "VIDEOSSL_GPUS"  # a list of ids that stands for the machine's GPUs, for tests
VISIBLE = "CUDA_VISIBLE_DEVICES"
NONE_VISIBLE = frozenset({"", "-1", "none", "void", "NoDevFiles"})  # what others write for it
DRIVER = Path("/proc/driver/nvidia/gpus")
# What the thread pools of numerical libraries are sized by. Snakemake sets most of them to a job's
# threads, and a library's own goes before OpenMP's.
POOLS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS",
    "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
LISTING_SECONDS = 60.0  # that nvidia-smi may take


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine; ``units`` are what a process can use: its MIG parts, or itself."""

    uuid: str
    units: tuple[str, ...]


def threads() -> int:
    """CPU threads to use: what the engine said, else all this process may run on."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def compute_in_one_thread() -> None:
    """Have numerical libraries compute in one thread, so that sums are the same on any machine.

    Must come before torch and numpy are imported, whose pools are sized once.
    """
    os.environ.update(dict.fromkeys(POOLS, "1"))
    os.environ.pop("MKL_DOMAIN_NUM_THREADS", None)  # goes before MKL's own number


def launched() -> bool:
    """Whether ``torchrun`` started this process.

    Its own variable tells: ``RANK`` and ``WORLD_SIZE`` are also left behind by other tools, in
    shells and container images, and count for nothing then.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """This process's number among those that ``torchrun`` started; 0 without it."""
    return int(os.environ["RANK"]) if launched() else 0


def ranks() -> int:
    """How many processes it started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def ranks_here() -> int:
    """How many of them share this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1


def gpus() -> int:
    """NVIDIA GPUs (or MIG parts of them) that this process may use."""
    return len(visible()[0])


def visible() -> tuple[list[str], str | None]:
    """UUIDs of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in its order, and what it misnames.

    It may hold indices, UUIDs or unambiguous beginnings of them, and ids of MIG parts. As in CUDA
    (Programming Guide, "CUDA Environment Variables") the list ends at the first entry that names
    no GPU; that entry is the second value, None where there is none. Indices count in the order of
    the PCI bus, which is CUDA's own where all GPUs are of one kind.
    """
    machine = installed()
    every = [unit for gpu in machine for unit in gpu.units]
    if VISIBLE not in os.environ:
        return every, None
    found: list[str] = []
    for entry in (part.strip() for part in os.environ[VISIBLE].split(",")):
        if entry in NONE_VISIBLE:
            break
        units = _named(entry, machine)
        if not units:
            return found, entry
        found += [unit for unit in units if unit not in found]
    return found, None


def _named(entry: str, machine: list[Gpu]) -> tuple[str, ...]:
    """The units that an entry of ``CUDA_VISIBLE_DEVICES`` names; none if it names no GPU."""
    if entry.isdecimal():
        return machine[int(entry)].units if int(entry) < len(machine) else ()
    names = {gpu.uuid: gpu.units for gpu in machine}
    names |= {unit: (unit,) for gpu in machine for unit in gpu.units}
    if entry in names:
        return names[entry]
    begin = [units for name, units in names.items() if name.startswith(entry)]
    if len(begin) == 1:
        return begin[0]
    # the driver's folder does not tell MIG parts, and older ids of them stand in no listing
    return (entry,) if machine and not begin and entry.startswith("MIG-") else ()


def installed() -> list[Gpu]:
    """The machine's GPUs as far as its container or scheduler shows them, in PCI order."""
    if PRETENDED in os.environ:
        ids = [part.strip() for part in os.environ[PRETENDED].split(",")]
        return [Gpu(uuid, (uuid,)) for uuid in ids if uuid]
    return _listed()


@cache
def _listed() -> list[Gpu]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return _of_driver()
    try:
        done = subprocess.run(
            [command, "-L"], capture_output=True, text=True, timeout=LISTING_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return _of_driver()
    # it fails where the job was given none of the machine's GPUs: then there are none
    return parse_listing(done.stdout) if done.returncode == 0 else []


def parse_listing(text: str) -> list[Gpu]:
    """The GPUs in what ``nvidia-smi -L`` prints: a line each, and below it one per MIG part."""
    rows: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if match := re.match(r"GPU \d+: .*\(UUID: (GPU-[^)\s]+)\)", line):
            rows.append((match[1], []))
        elif rows and (match := re.match(r"\s+MIG .*\(UUID: (MIG-[^)\s]+)\)", line)):
            rows[-1][1].append(match[1])
    return [Gpu(uuid, tuple(parts) or (uuid,)) for uuid, parts in rows]


def _of_driver() -> list[Gpu]:
    """As the driver's folder lists them: for containers without ``nvidia-smi``."""
    found = []
    for index, file in enumerate(sorted(DRIVER.glob("*/information"))):
        match = re.search(r"^GPU UUID:\s*(GPU-[0-9a-fA-F-]+)\s*$", file.read_text(), re.MULTILINE)
        uuid = match[1] if match else str(index)  # question marks until a program has used it
        found.append(Gpu(uuid, (uuid,)))
    return found


def training_threads(gpus_of_job: int) -> int:
    """CPU threads of a training that has some of this machine's GPUs: its part of the cores.

    Beside a GPU the threads read clips. Without one, trainings run side by side, one thread each
    (and per rank), which gives the same bits as any other machine.
    """
    count = gpus()
    return gpus_of_job * max(1, threads() // count) if count else gpus_of_job


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
    os.environ["PYTHONPATH"] = first_on_path(source)


def first_on_path(source: str) -> str:
    """``PYTHONPATH`` with ``source`` before what is in it.

    A colon separates folders there, so one whose own name has a colon is given relative to the
    present folder, which is the study's. Python makes it absolute when it starts.
    """
    if os.pathsep in source:
        source = os.path.relpath(source)
    return os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
