"""What ``gpu.py`` measures, one function a figure; every one returns plain numbers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import TrainBatches, batches
from videossl.data.motion.store import MotionStore
from videossl.data.shards.store import ClipStore
from videossl.models import weights
from videossl.study import schema
from videossl.study.registry import METHODS
from videossl.train.pretrain import Pretraining
from videossl.train.step import TrainingStep

ERRORS = ("output", "input_gradient", "weight_gradient")
COLOURS: dict[str, Any] = {"mean": [0.45] * 3, "std": [0.225] * 3}


@dataclass(frozen=True)
class Shape:
    """A network, the clips it sees, and the batch of a step."""

    network: schema.Backbone
    clip: schema.Clip
    batch: int


@dataclass(frozen=True)
class Size:
    """How large everything is on this device."""

    shapes: dict[str, Shape]
    matrix: int  # side of the multiplied matrices
    channels: int  # of the convolutions that are compared
    maps: tuple[int, int]  # frames and side of their maps
    steps: int  # that are timed, after some that are not
    warm: int
    videos: int
    stored: tuple[int, int, int]  # frames, height and width of a stored video


def whole_size() -> Size:
    """Published sizes: RSPNet's R3D-18 at 16x112x112, the ρ methods' Slow R50 at 8x224x224."""
    r3d = schema.Model(name="r3d", blocks=[2, 2, 2, 2], width=64, **COLOURS)
    slow = schema.Slow(name="slow", depth=50, width=64, **COLOURS)
    shapes = {
        "R3D-18 16x112": Shape(r3d, schema.Clip(frames=16, stride=1, size=112), 64),
        "Slow R50 8x224": Shape(slow, schema.Clip(frames=8, stride=4, size=224), 32),
    }
    return Size(shapes, 8192, 64, (16, 56), 10, 4, 256, (96, 128, 171))


def quick_size() -> Size:
    """The same figures where only the way to them is tried."""
    r3d = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
    slow = schema.Slow(name="slow", depth=18, width=4, **COLOURS)
    shapes = {
        "R3D 4x32": Shape(r3d, schema.Clip(frames=4, stride=1, size=32), 4),
        "Slow 4x32": Shape(slow, schema.Clip(frames=4, stride=2, size=32), 4),
    }
    return Size(shapes, 256, 8, (4, 16), 2, 1, 8, (48, 36, 48))


def clock(device: torch.device) -> float:
    """Seconds, once the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], device: torch.device, size: Size) -> float:
    """Median time of one call, after some that are not timed."""
    found = []
    for number in range(size.warm + size.steps):
        begin = clock(device)
        work()
        if number >= size.warm:
            found.append(clock(device) - begin)
    return statistics.median(found)


# ------------------------------------------------------------------ what the device can do


def matmul(precision: torch.dtype, device: torch.device, size: Size) -> float:
    """TFLOP/s of a product of square matrices: what no network exceeds."""
    n = size.matrix
    a = torch.randn(n, n, device=device, dtype=precision)
    b = torch.randn(n, n, device=device, dtype=precision)
    return 2 * n**3 / seconds(lambda: a @ b, device, size) / 1e12


def convolution(
    precision: torch.dtype, layout: torch.memory_format, device: torch.device, size: Size
) -> dict[str, float]:
    """Time of a 3x3x3 convolution forward and backward, and its errors against float64.

    Errors are largest differences over the largest value, of output and gradients.
    """
    frames, side = size.maps
    generator = torch.Generator().manual_seed(0)
    c = size.channels
    x = torch.randn(8, c, frames, side, side, generator=generator).to(device)
    w = (torch.randn(c, c, 3, 3, 3, generator=generator) / (27 * c) ** 0.5).to(device)

    def passes(
        dtype: torch.dtype, clips: Tensor, memory_format: torch.memory_format
    ) -> tuple[Tensor, ...]:
        # leaves, or a gradient would go on into the conversion
        here = clips.to(dtype).to(memory_format=memory_format).detach().requires_grad_()
        kernel = w.to(dtype).to(memory_format=memory_format).detach().requires_grad_()
        out = F.conv3d(here, kernel, padding=1)
        (dx, dw) = torch.autograd.grad(out.square().sum(), (here, kernel))
        return out.detach(), dx, dw

    few = x[:1]
    exact = passes(torch.float64, few, torch.contiguous_format)
    found = passes(precision, few, layout)
    errors = {
        f"error_{name}": float((b.double() - a).abs().max() / a.abs().max())
        for name, a, b in zip(
            ("output", "input_gradient", "weight_gradient"), exact, found, strict=True
        )
    }
    return {"ms": 1000 * seconds(lambda: passes(precision, x, layout), device, size), **errors}


def floor(shape: Shape, compiled: bool, device: torch.device, size: Size) -> dict[str, float]:
    """Clips a second of the network alone, forward and backward, on one batch that is there."""
    network = weights.build(shape.network).to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.train()
    clip = shape.clip
    x = torch.randn(shape.batch, 3, clip.frames, clip.size, clip.size, device=device)
    x = x.to(memory_format=torch.channels_last_3d)
    if compiled:
        network.compile()
    autocast = _autocast(device)

    def work() -> None:
        with autocast():
            out = network(x)
        out.float().square().mean().backward()

    with FlopCounterMode(display=False) if not compiled else nullcontext() as counter:
        work()
    each = seconds(work, device, size)
    result = {"clips_per_second": shape.batch / each}
    if counter is not None:
        result["tflops"] = counter.get_total_flops() / each / 1e12
        result["gflop_per_clip"] = counter.get_total_flops() / shape.batch / 1e9
    return result


def _autocast(device: torch.device) -> Callable[[], Any]:
    """As training computes: bfloat16 on a GPU, float32 without one."""
    on = device.type == "cuda"
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=on)


# ------------------------------------------------------------------ training


@dataclass
class Training:
    """A method's training step, and the batches that it takes."""

    step: TrainingStep
    source: TrainBatches
    clips: int  # of a step


def training(
    name: str, study: schema.Params, shape: Shape, videos: Path, device: torch.device
) -> Training:
    """A row of ``params.yaml`` with another network, clip and batch."""
    spec = study.methods[name]
    budget = study.pretrain[spec.pretrain]
    task = study.task[spec.task]
    encoder = weights.build(shape.network)
    method: Any = import_module(METHODS[spec.method]).build(spec, task, shape.clip, encoder)
    store = ClipStore(videos / "stored")
    motion = None if spec.motion == schema.NO_MOTION else MotionStore(videos / spec.motion)
    everything = range(len(store.videos))
    source = TrainBatches(
        store, everything, method.requests, budget.augment, shape.batch, 0, motion=motion
    )
    step = TrainingStep(
        Pretraining(method),
        study.optimizer[spec.optimizer].model_copy(update={"warmup_epochs": 0}),
        batch_size=source.batch_size,
        total=1000,
        per_epoch=source.steps_per_epoch,
        precision="bfloat16" if device.type == "cuda" else "float32",
        size=shape.clip.size,
        accumulate=1,
        seed=0,
    )
    return Training(step, source, source.batch_size * len(source.sample_of(0, 0)))


def train(work: Training, readers: int, device: torch.device, size: Size) -> dict[str, float]:
    """Clips a second of whole steps, the share of them spent waiting, and peak memory in MiB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    total = size.warm + size.steps
    waited, worked = [], []
    with (
        closing(batches(work.source.between(0, total), readers, device.type == "cuda")) as stream,
        closing(work.step.prepared(stream)) as prepared,
    ):
        begin = clock(device)
        for parts in prepared:
            there = clock(device)
            work.step(parts)
            done = clock(device)
            waited.append(there - begin)
            worked.append(done - there)
            begin = done
    wait, step = (statistics.median(times[size.warm :]) for times in (waited, worked))
    memory = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
    return {
        "clips_per_second": work.clips / (wait + step),
        "videos_per_second": work.source.batch_size / (wait + step),
        "waiting_share": wait / (wait + step),
        "peak_mib": memory,
    }


def loading(work: Training, readers: int, size: Size) -> float:
    """Clips a second that the loader gives when nothing else runs."""
    total = size.warm + size.steps
    with closing(batches(work.source.between(0, total), readers)) as stream:
        for _ in islice(stream, size.warm):
            pass
        begin = time.perf_counter()
        read = sum(1 for _ in stream)
    return read * work.clips / (time.perf_counter() - begin)


def augmentation(work: Training, device: torch.device, size: Size) -> float:
    """Seconds that a step's batch takes from bytes on the device to normalised clips."""
    with closing(batches(work.source.between(0, 1))) as stream:
        batch = next(stream).to(device)
    task = work.step.task
    return seconds(lambda: to_device_clips(batch, work.step.size, task.colours), device, size)


def waits_for_device(work: Training, device: torch.device) -> str:
    """What in a step makes the host wait for the device; empty where nothing does."""
    with closing(batches(work.source.between(0, 3), 0, device.type == "cuda")) as stream:
        prepared: Iterable[Any] = work.step.prepared(stream)
        for number, parts in enumerate(prepared):
            strict = number == 2 and device.type == "cuda"
            try:
                if strict:
                    torch.cuda.set_sync_debug_mode("error")
                work.step(parts)
            except RuntimeError as error:
                return str(error)
            finally:
                if strict:
                    torch.cuda.set_sync_debug_mode("default")
    return ""
