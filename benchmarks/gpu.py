"""All that a GPU can tell in a few minutes, in JSON lines as it goes: a cut leaves what was there.

    benchmarks/gpu.sh                                 # sets up and runs this
    python benchmarks/gpu.py --device cpu --quick     # the same way, tiny, to try it without a GPU
    python benchmarks/render.py gpu.jsonl             # tables

Each part runs in a process of its own, so that one that fails, hangs or runs out of memory costs
itself; the most useful come first. A line is a figure: ``{"part": ..., "name": ..., ...}``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

import gpu_steps as steps  # noqa: E402
import gpu_videos  # noqa: E402
import torch  # noqa: E402

from videossl import machine  # noqa: E402
from videossl.study import params  # noqa: E402
from videossl.train.pretrain import compile_networks  # noqa: E402

Line = dict[str, Any]
KINETICS = 240_000  # videos to train on, in round numbers
EPOCHS = 200


class Bench:
    """What the parts share: the device, the sizes, the videos."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.size = steps.quick_size() if args.quick else steps.whole_size()
        self.videos: Path = args.videos
        self.study = params.load(ROOT / "params.yaml")
        self.compilers = [False, True] if self.device.type == "cuda" else [False]
        torch.set_num_threads(machine.threads() if self.device.type == "cuda" else 1)

    @property
    def first(self) -> tuple[str, steps.Shape]:
        """The shape that most is measured with."""
        return next(iter(self.size.shapes.items()))

    def training(self, row: str, shape: steps.Shape) -> steps.Training:
        """A training step of a row."""
        return steps.training(row, self.study, shape, self.videos, self.device)

    def readers(self) -> list[int]:
        """Numbers of loader processes that are compared."""
        return [n for n in (1, 2, 4, 8) if n <= max(1, machine.threads() - 1)]


# ------------------------------------------------------------------ parts


def what(bench: Bench) -> Iterator[Line]:
    """The machine, and the libraries."""
    facts: Line = {"name": "machine", "python": platform.python_version()}
    facts |= {"torch": torch.__version__, "cores": machine.threads(), "cpu": platform.machine()}
    if bench.device.type == "cuda":
        found = torch.cuda.get_device_properties(0)
        facts |= {"gpu": found.name, "gib": round(found.total_memory / 2**30, 1)}
        facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    yield facts


def tests(bench: Bench) -> Iterator[Line]:
    """The tests that need a GPU; without one they skip, and are counted so."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    folders = ["tests/methods/test_cuda.py", "tests/data/loading/test_ring.py"]
    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True)
    counts = {
        kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
    }
    failed = re.findall(r"^(?:FAILED|ERROR) (.*)$", done.stdout, re.MULTILINE)
    yield {"name": "pytest -m gpu", "status": done.returncode, **counts, "which": failed}
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-2000:], file=sys.stderr)


def device(bench: Bench) -> Iterator[Line]:
    """Peak speed, and whether and how fast 3D convolutions are right in each precision."""
    cuda = bench.device.type == "cuda"
    for name, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        if cuda or name == "float32":
            tflops = steps.matmul(precision, bench.device, bench.size)
            yield {"name": f"matmul {name}", "tflops": tflops}
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            kind = str(layout).removeprefix("torch.")
            facts = steps.convolution(precision, layout, bench.device, bench.size)
            yield {"name": f"conv3d {name} {kind}", **facts}


def floor(bench: Bench) -> Iterator[Line]:
    """The networks alone, on one batch that is there: what training cannot exceed."""
    for name, shape in bench.size.shapes.items():
        for compiled in bench.compilers:
            facts = steps.floor(shape, compiled, bench.device, bench.size)
            yield {"name": name, "compiled": compiled, **facts}


def training(bench: Bench) -> Iterator[Line]:
    """RSPNet with R3D-18: whole steps by loader processes, and the hours of Kinetics-400."""
    name, shape = bench.first
    for compiled in bench.compilers:
        work = bench.training("rspnet", shape)
        if compiled:
            compile_networks(work.step.task.module)  # type: ignore[arg-type]
        for readers in reversed(bench.readers()):
            facts = steps.train(work, readers, bench.device, bench.size)
            hours = KINETICS * EPOCHS / facts["videos_per_second"] / 3600
            yield {"name": f"rspnet {name}", "compiled": compiled, "readers": readers,
                   **facts, "kinetics400_hours": hours}  # fmt: skip
    for readers in bench.readers():
        clips = steps.loading(work, readers, bench.size)
        yield {"name": f"loader {name}", "readers": readers, "clips_per_second": clips}


def methods(bench: Bench) -> Iterator[Line]:
    """Every method in both shapes: speed, memory, the share of augmentation, waits of the host."""
    for name, shape in bench.size.shapes.items():
        for row in bench.study.methods:
            work = bench.training(row, shape)
            try:
                facts: Line = dict(steps.train(work, bench.readers()[-1], bench.device, bench.size))
                step_seconds = work.clips / facts["clips_per_second"]
                spent = steps.augmentation(work, bench.device, bench.size)
                facts |= {"augmentation_share": spent / step_seconds}
                facts |= {"host_waits": steps.waits_for_device(work, bench.device)}
            except torch.cuda.OutOfMemoryError as error:
                facts = {"failed": str(error).split(". ")[0]}
            yield {"name": row, "shape": name, "batch": shape.batch, **facts}


PARTS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    f.__name__: f for f in (what, tests, device, floor, training, methods)
}


# ------------------------------------------------------------------ running them


def make_videos(folder: Path, args: argparse.Namespace) -> None:
    """Stores of frames and of every motion of ``params.yaml``."""
    size = steps.quick_size() if args.quick else steps.whole_size()
    count, height, width = size.stored
    gpu_videos.store(folder / "stored", size.videos, count, height, width)
    for name, options in params.load(ROOT / "params.yaml").motion.items():
        gpu_videos.motion(folder / name, options, size.videos, count, height, width)


def write(out: Path, line: Line) -> None:
    """Append a line that is on the disk when this returns."""
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(json.dumps(line), flush=True)


def main() -> int:
    """Run all parts, or the one that a process was started for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny, to try the way")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no part begins")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--videos", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        for line in PARTS[args.part](Bench(args)):
            write(args.out, {"part": args.part, **line})
        return 0
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here; --device cpu --quick tries the way without one")
    args.out.unlink(missing_ok=True)
    begin = time.monotonic()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        make_videos(Path(folder), args)
        for part in PARTS:
            left = 60 * args.minutes - (time.monotonic() - begin)
            command = [sys.executable, __file__, *sys.argv[1:], "--part", part, "--videos", folder]
            reason = "no time left"
            if left > 0:
                try:
                    status = subprocess.run(command, timeout=left).returncode
                    reason = f"exit status {status}" if status else ""
                except subprocess.TimeoutExpired:
                    reason = f"cut after {left:.0f} s"
            if reason:
                failed.append(part)
                write(args.out, {"part": part, "name": "failed", "reason": reason})
    seconds = round(time.monotonic() - begin, 1)
    write(args.out, {"part": "end", "name": "end", "seconds": seconds, "failed": failed})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
