"""``videossl doctor``: what this machine is, how fast it trains, how long the study will take."""

from __future__ import annotations

import platform
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch

from videossl import machine
from videossl.data.loading.loader import TrainBatches, batches
from videossl.data.motion.store import MotionStore
from videossl.data.shards.store import ClipStore
from videossl.job import UserError
from videossl.models import weights
from videossl.study import grouped
from videossl.study.graph import Graph
from videossl.study.registry import METHODS
from videossl.study.schema import NO_MOTION
from videossl.study.stages import Instance, instance
from videossl.train import precision
from videossl.train.device import pick_device, readers
from videossl.train.pretrain import Pretraining, training_videos
from videossl.train.step import TrainingStep

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "av", "decord", "lmdb", "simplejpeg")
STEPS = 4  # that are timed, after one that is not
READ = 12  # batches that are read without training


def report(graph: Graph) -> Iterator[str]:
    """Lines on the device, the versions, and, where the videos are decoded, speed and hours."""
    device = pick_device()
    threads = machine.threads()
    yield f"device         {_name(device)}, {threads} threads"
    yield f"{'versions':14} " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    yield f"disk           {shutil.disk_usage('.').free / 1e9:.0f} GB free here"
    if device.type == "cpu":
        torch.set_num_threads(1)  # as trainings on a CPU compute
    yield f"convolution    {precision.report(device)}"
    hours = 0.0
    for row in graph.params.methods:
        try:
            line, of_row = _row(graph, row, device, threads)
        except UserError as error:
            yield f"{row:14} not measured: {error}"
            continue
        hours += of_row
        yield line
    seeds = len(graph.params.seeds)
    runs = f"{seeds} seeds, " if seeds > 1 else ""
    yield f"pretraining    {hours * seeds:.2f} hours, {runs}one row after the other"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    return f"CPU ({platform.machine()})"


def _made(graph: Graph, node: Instance, command: str) -> Path:
    """An instance's output, if either engine has made it.

    Raises:
        UserError: none has; ``command`` would.
    """
    made = grouped.made(graph, node)
    if made is None:
        raise UserError(f"{node} is not there yet ({command})")
    return made


def _row(graph: Graph, row: str, device: torch.device, threads: int) -> tuple[str, float]:
    """A line on one row's speed, and the hours of its pretraining on this device.

    Raises:
        UserError: what it reads is not there yet, or its precision does not work here.
    """
    params = graph.params
    spec = params.methods[row]
    budget = params.pretrain[spec.pretrain]
    decode = f"videossl decode {spec.data}"
    store = ClipStore(_made(graph, instance("decode", spec.data), decode))
    motion = None
    if spec.motion != NO_MOTION:
        command = f"videossl motion {spec.motion}"
        motion = MotionStore(_made(graph, instance("motion", spec.motion), command))
    seed = params.seeds[0]
    encoder = weights.build(params.backbone[spec.backbone])
    task = params.task[spec.task]
    method = import_module(METHODS[spec.method]).build(spec, task, budget.clip, encoder)
    source = TrainBatches(
        store,
        training_videos(store, budget.split),
        method.requests,
        budget.augment,
        budget.batch_size,
        seed,
        motion,
    )
    steps = budget.epochs * source.steps_per_epoch
    step = TrainingStep(
        Pretraining(method),
        params.optimizer[spec.optimizer],
        batch_size=source.batch_size,
        total=max(steps, STEPS + 1),
        per_epoch=source.steps_per_epoch,
        precision=budget.precision,
        size=budget.clip.size,
        accumulate=budget.accumulate,
        seed=seed,
    )
    pin = device.type == "cuda"
    workers = readers(device, threads)
    seconds = []
    with (
        closing(batches(source.between(0, STEPS + 1), workers, pin)) as stream,
        closing(step.prepared(stream)) as prepared,
    ):
        begin = time.perf_counter()
        for parts in prepared:
            step(parts)
            _wait(device)
            seconds.append(time.perf_counter() - begin)
            begin += seconds[-1]
    each = statistics.median(seconds[1:])
    clips = len(source.sample_of(0, 0))  # of a video
    read = _reading(source, workers, pin) * clips
    hours = each * steps / 3600
    line = (
        f"{row:14} {each:.3f} s a step, {clips * source.batch_size / each:.0f} clips/s "
        f"(the loader gives {read:.0f}), {steps} steps: {hours:.2f} hours"
    )
    return line, hours


def _reading(source: TrainBatches, workers: int, pin: bool) -> float:
    """Videos a second that the loader reads when nothing else runs."""
    with closing(batches(source.between(0, READ), workers, pin)) as stream:
        next(stream)
        begin = time.perf_counter()
        read = sum(1 for _ in stream)
    return read * source.batch_size / (time.perf_counter() - begin)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
