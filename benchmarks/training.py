"""What training adds to the bare forward and backward passes of the same clips.

    python benchmarks/training.py                      # on the GPU if there is one, else on the CPU
    python benchmarks/training.py --blocks 2 2 2 2 --width 64 --frames 16 --size 112 --batch 64 \
        --precision bfloat16                           # RSPNet's published size, for a GPU
    python benchmarks/training.py --costs              # rho_moco by clips, size and queue
    python benchmarks/training.py --steps 20 --rounds 3 --json benchmarks/results/training.json

For every method of ``params.yaml``, on videos of the built-in dataset made and decoded here: a step
of the loop's parts (augmentation, pretext task, optimiser, targets) against the backbone's passes
that the step made, replayed on the same clips; both in turns within one run, medians. ``wait`` is
the share of a step that was spent on waiting for the loader; ``peak`` the memory of the whole
process on the CPU, what torch allocated on a GPU. Each row is measured by a process of its own; of
several rounds over all rows the table has the median, and the range of the ratio.
"""

from __future__ import annotations

import argparse
import json
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

import figures_file
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from videossl.data.builtin import synthetic  # noqa: E402
from videossl.data.datasets import ucf101  # noqa: E402
from videossl.data.decoding import decode  # noqa: E402
from videossl.data.loading.loader import TrainBatches, batches  # noqa: E402
from videossl.data.motion import compute  # noqa: E402
from videossl.data.motion.store import MotionStore  # noqa: E402
from videossl.data.shards.store import ClipStore  # noqa: E402
from videossl.job import Job  # noqa: E402
from videossl.methods.base import Method  # noqa: E402
from videossl.models import weights  # noqa: E402
from videossl.models.backbone import Backbone  # noqa: E402
from videossl.study import params, schema  # noqa: E402
from videossl.study.reads import DecodeParams, MotionParams, PrepareParams  # noqa: E402
from videossl.study.registry import METHODS  # noqa: E402
from videossl.train.device import pick_device, readers  # noqa: E402
from videossl.train.pretrain import Pretraining, compile_networks  # noqa: E402
from videossl.train.step import TrainingStep  # noqa: E402

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
    key = {"dataset": "synthetic"}
    job = Job("prepare", key, {}, made, folder / "scratch", 2, modules)
    synthetic.run(job, PrepareParams.model_construct(data=data))
    options = study.decode.model_copy(update={"short_side": args.stored})
    job = Job("decode", key, {"videos": (made,)}, stored, folder / "scratch", 2, {})
    decode.run(job, DecodeParams.model_construct(decode=options, data=data))
    for name, block in study.motion.items():
        (folder / name).mkdir()
        scratch = folder / f"scratch-{name}"  # its own: stages resume what they find there
        job = Job("motion", {}, {"shards": (stored,)}, folder / name, scratch, 2, {})
        compute.run(job, MotionParams.model_construct(motion=block))


def measure(name: str, study: schema.Params, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a step and of its bare passes, share of waiting, clips/s, MiB at most."""
    store = ClipStore(args.folder / "stored")
    device = pick_device()
    spec = study.methods[name]
    budget = study.pretrain[spec.pretrain]
    clip = schema.Clip(frames=args.frames, stride=args.stride, size=args.size)
    backbone = study.backbone[spec.backbone].model_dump()
    model = schema.Model(**backbone | {"name": "r3d", "blocks": args.blocks, "width": args.width})
    encoder = weights.build(model)
    method: Method = import_module(METHODS[spec.method]).build(
        spec, study.task[spec.task], clip, encoder
    )
    if args.compile:
        compile_networks(method)
    source = TrainBatches(
        *(store, store.members(1, "train"), method.requests, budget.augment, args.batch, 0),
        motion=None if spec.motion == schema.NO_MOTION else MotionStore(args.folder / spec.motion),
    )

    step = TrainingStep(
        Pretraining(method),
        study.optimizer[spec.optimizer],
        batch_size=source.batch_size,
        total=max(budget.epochs * source.steps_per_epoch, WARM + args.steps),
        per_epoch=source.steps_per_epoch,
        precision=args.precision,
        size=args.size,
        accumulate=1,
        seed=0,
    )
    source = source.between(0, WARM + args.steps)

    def autocast() -> Any:
        return torch.autocast(device.type, torch.bfloat16, enabled=step.autocast)

    times: dict[str, list[float]] = {"wait": [], "step": [], "bare": []}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begin = clock(device)
    with (
        closing(batches(source, readers(device, args.threads), device.type == "cuda")) as stream,
        closing(step.prepared(stream)) as prepared,
    ):
        for parts in prepared:
            times["wait"].append(clock(device) - begin)
            passes = Passes()
            handles = passes.listen(method)
            begin = clock(device)
            step(parts)
            times["step"].append(clock(device) - begin)
            for handle in handles:
                handle.remove()
            begin = clock(device)
            passes.replay(autocast)
            times["bare"].append(clock(device) - begin)
            begin = clock(device)
    medians = {key: statistics.median(values[WARM:]) for key, values in times.items()}
    whole = medians["wait"] + medians["step"]
    count = len(source.sample_of(0, 0)) * source.batch_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    return {
        "bare": 1000 * medians["bare"],
        "step": 1000 * medians["step"],
        "ratio": medians["step"] / medians["bare"],
        "wait": medians["wait"] / whole,
        "clips": count / whole,
        "peak": memory,
    }


def clock(device: torch.device) -> float:
    """Seconds, once the device is done."""
    if device.type == "cuda":
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
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--change", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def row(method: str, folder: Path, *more: str) -> dict[str, float]:
    """Measure in a new process, so that its peak of memory is its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--method", method, *more], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """A line per row: medians over rounds, and between which values the ratio was."""
    lines = [
        "| row | bare, ms | step, ms | step / bare | wait | clips/s | peak, MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rounds in found.items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        ratios = sorted(one["ratio"] for one in rounds)
        between = f" ({ratios[0]:.3f} to {ratios[-1]:.3f})" if len(ratios) > 1 else ""
        lines.append(
            f"| {name} | {middle['bare']:.0f} | {middle['step']:.0f} "
            f"| {middle['ratio']:.3f}{between} | {middle['wait']:.1%} "
            f"| {middle['clips']:.0f} | {middle['peak']:.0f} |"
        )
    return "\n".join(lines)


def cases(args: argparse.Namespace, study: schema.Params) -> dict[str, tuple[str, ...]]:
    """What is measured: name -> row of ``params.yaml`` and arguments."""
    if not args.costs:
        return {name: (name,) for name in args.methods or study.methods}
    found: dict[str, tuple[str, ...]] = {}
    for rho in (1, 2, 4, 8):
        found[f"ρ = {rho}"] = ("rho_moco", "--change", f"task.rho={rho}")
    for size in (args.size, 2 * args.size):
        found[f"{size} pixels"] = ("rho_moco", "--size", str(size))
    for keys in (1024, 16384, 65536):
        found[f"{keys} keys"] = ("rho_moco", "--change", f"methods.rho_moco.queue={keys}")
    return found


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
        print(json.dumps(measure(args.method, study, args)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), study, args)
        for _ in range(args.rounds):
            for name, (method, *more) in cases(args, study).items():
                found.setdefault(name, []).append(row(method, Path(folder), *more))
                print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
