"""What training adds to the bare forward and backward passes of the same clips.

    python benchmarks/training.py                      # on the GPU if there is one, else on the CPU
    python benchmarks/training.py --blocks 2 2 2 2 --width 64 --frames 16 --size 112 --batch 64 \
        --precision bfloat16                           # RSPNet's published size, for a GPU
    python benchmarks/training.py --costs              # rho_moco by clips, size and queue

For every method of ``params.yaml``, on videos of the built-in dataset made and decoded here: a step
of the loop's parts (augmentation, pretext task, optimiser, targets) against the backbone's passes
that the step made, replayed on the same clips; both in turns within one run, medians. ``wait`` is
the share of a step that was spent on waiting for the loader; ``peak`` the memory of the whole
process on the CPU, what torch allocated on a GPU. Each row is measured by a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from videossl.data.builtin import synthetic  # noqa: E402
from videossl.data.datasets import ucf101  # noqa: E402
from videossl.data.decoding import decode  # noqa: E402
from videossl.data.loading.device_clips import to_device_clips  # noqa: E402
from videossl.data.loading.loader import Batch, TrainBatches, batches  # noqa: E402
from videossl.data.motion import compute  # noqa: E402
from videossl.data.motion.store import MotionStore  # noqa: E402
from videossl.data.shards.store import ClipStore  # noqa: E402
from videossl.job import Job  # noqa: E402
from videossl.methods.base import Method  # noqa: E402
from videossl.models.backbone import Backbone  # noqa: E402
from videossl.study import params, schema  # noqa: E402
from videossl.study.params import DecodeParams, MotionParams, PrepareParams  # noqa: E402
from videossl.study.registry import BACKBONES, METHODS  # noqa: E402
from videossl.train import optim  # noqa: E402
from videossl.train.device import device, keep_freed_memory, place, readers  # noqa: E402
from videossl.train.prefetch import ahead  # noqa: E402

WARM = 3  # steps that are not timed


@dataclass
class Passes:
    """The backbone's passes within a step: which module, on what, with gradient or without."""

    seen: list[tuple[nn.Module, Tensor, bool]] = field(default_factory=list)

    def listen(self, method: Method) -> list[Any]:
        """Note passes of every module that is a backbone like the method's."""

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.seen.append((module, inputs[0].detach(), torch.is_grad_enabled()))

        return [
            module.register_forward_pre_hook(note)
            for module in method.modules()
            if isinstance(module, Backbone)
        ]

    def replay(self, autocast: Any) -> None:
        """The same passes and nothing else; those with gradient go backward too."""
        for module, clips, gradient in self.seen:
            with torch.set_grad_enabled(gradient), autocast():
                out = module(clips)
            if gradient:
                out.sum().backward()


def prepare(folder: Path, study: schema.Params, args: argparse.Namespace) -> None:
    """Write and decode videos of the built-in dataset, and compute their motion."""
    data = study.data["synthetic"].model_copy(
        update={"videos_per_class": 12, "size": args.stored, "frames": 64}
    )
    made, stored = folder / "made", folder / "stored"
    for out in (made, stored):
        out.mkdir()
    modules = {"dataset": ucf101}
    who = {"dataset": "synthetic"}
    job = Job("prepare", who, {}, made, folder / "scratch", 2, modules)
    synthetic.run(job, PrepareParams.model_construct(data=data))
    options = study.decode.model_copy(update={"short_side": args.stored})
    job = Job("decode", who, {"videos": (made,)}, stored, folder / "scratch", 2, {})
    decode.run(job, DecodeParams.model_construct(decode=options, data=data))
    for name, block in study.motion.items():
        (folder / name).mkdir()
        scratch = folder / f"scratch-{name}"  # its own: stages resume what they find there
        job = Job("motion", {}, {"shards": (stored,)}, folder / name, scratch, 2, {})
        compute.run(job, MotionParams.model_construct(motion=block, dataset="synthetic"))


def measure(name: str, study: schema.Params, args: argparse.Namespace) -> str:
    """A row of the table, without its name."""
    store = ClipStore(args.folder / "stored")
    where = device()
    spec = getattr(study.methods, name)
    clip = schema.Clip(frames=args.frames, stride=args.stride, size=args.size)
    model = schema.Model(name="r3d", blocks=args.blocks, width=args.width)
    encoder = import_module(BACKBONES["r3d"]).build(model)
    method: Method = import_module(METHODS[name]).build(
        spec, getattr(study.task, spec.task), clip, encoder
    )
    place(method, where)
    method.train()
    if args.compile:
        method.encoder.compile()
    optimizer = optim.build(method, spec.optimizer)
    source = TrainBatches(
        *(store, store.members(1, "train"), method.requests, study.pretrain.augment, args.batch, 0),
        motion=None if spec.motion == schema.NO_MOTION else MotionStore(args.folder / spec.motion),
    ).between(0, WARM + args.steps)

    def autocast() -> Any:
        enabled = args.precision == "bfloat16"
        return torch.autocast(where.type, torch.bfloat16, enabled=enabled)

    def prepare(batch: Batch) -> tuple[list[Tensor], Batch]:
        moved = batch.to(where)
        with torch.no_grad():
            return method.prepare(to_device_clips(moved, args.size), moved.labels), moved

    def step(clips: list[Tensor], moved: Batch) -> None:
        optimizer.zero_grad()
        with autocast():
            method.training_step(clips, moved.video, Tensor.backward, moved.labels)
        optimizer.step()
        method.after_step(0.5)

    times: dict[str, list[float]] = {"wait": [], "step": [], "bare": []}
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begin = clock(where)
    with (
        closing(batches(source, readers(where, args.threads), where.type == "cuda")) as stream,
        closing(ahead(stream, prepare) if where.type == "cpu" else stream) as ready,
    ):
        for batch in ready:
            times["wait"].append(clock(where) - begin)
            passes = Passes()
            handles = passes.listen(method)
            begin = clock(where)
            clips, moved = batch if isinstance(batch, tuple) else prepare(batch)
            step(clips, moved)
            times["step"].append(clock(where) - begin)
            for handle in handles:
                handle.remove()
            begin = clock(where)
            passes.replay(autocast)
            times["bare"].append(clock(where) - begin)
            begin = clock(where)
    medians = {key: statistics.median(values[WARM:]) for key, values in times.items()}
    whole = medians["wait"] + medians["step"]
    count = len(moved.clips) * source.batch_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    if where.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    return (
        f"{1000 * medians['bare']:.0f} | {1000 * medians['step']:.0f} "
        f"| {medians['step'] / medians['bare']:.3f} | {medians['wait'] / whole:.1%} "
        f"| {count / whole:.0f} | {memory:.0f} |"
    )


def clock(where: torch.device) -> float:
    """Seconds, once the device is done."""
    if where.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", type=int, nargs=4, default=[2, 2, 2, 2])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--size", type=int, default=44)
    parser.add_argument("--stored", type=int, default=64, help="short side of the stored frames")
    parser.add_argument("--batch", type=int, default=32, help="videos")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--costs", action="store_true", help="what one method's cost depends on")
    parser.add_argument("--methods", nargs="+", help="all where not given")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--change", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def row(name: str, method: str, folder: Path, *more: str) -> None:
    """Measure in a new process, so that its peak of memory is its own; print."""
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--method", method, *more], stdout=subprocess.PIPE, text=True, check=True
    )
    print(f"| {name} | {done.stdout.strip()}", flush=True)


def main() -> None:
    """Print the table."""
    args = parse()
    torch.set_num_threads(args.threads)
    raw = params.read(ROOT / "params.yaml")
    if args.change:
        key, _, value = args.change.partition("=")
        *parents, last = key.split(".")
        reduce(dict.__getitem__, parents, raw)[last] = int(value)
    study = params.validate(raw, "params.yaml")
    if args.method:
        if device().type == "cpu":
            keep_freed_memory()
        print(measure(args.method, study, args))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), study, args)
        print("| method | bare, ms | step, ms | step / bare | wait | clips/s | peak, MiB |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        if not args.costs:
            for name in args.methods or params.dump(study.methods):
                row(name, name, Path(folder))
            return
        for rho in (1, 2, 4, 8):
            row(f"ρ = {rho}", "rho_moco", Path(folder), "--change", f"task.rho={rho}")
        for size in (args.size, 2 * args.size):
            row(f"{size} pixels", "rho_moco", Path(folder), "--size", str(size))
        for keys in (1024, 16384, 65536):
            change = f"methods.rho_moco.queue={keys}"
            row(f"{keys} keys", "rho_moco", Path(folder), "--change", change)


if __name__ == "__main__":
    main()
