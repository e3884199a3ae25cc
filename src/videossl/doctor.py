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
from videossl.study.graph import Graph, Instance, instance
from videossl.study.registry import BACKBONES, METHODS
from videossl.study.schema import NO_MOTION, Params
from videossl.train.device import pick_device, readers
from videossl.train.pretrain import Pretraining
from videossl.train.step import TrainingStep

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "av", "decord", "lmdb", "simplejpeg")
STEPS = 4  # that are timed, after one that is not
READ = 12  # batches that are read without training


def report(graph: Graph) -> Iterator[str]:
    """Lines on the device, the versions, and, where the videos are decoded, speed and hours."""
    device = pick_device()
    threads = machine.threads()
    yield f"device         {_name(device)}, {threads} threads"
    precision = graph.params.pretrain.precision
    refused = device.type == "cpu" and precision == "bfloat16"
    yield f"precision      {precision}" + (": refused on the CPU; use float32" if refused else "")
    yield f"{'versions':14} " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    yield f"disk           {shutil.disk_usage('.').free / 1e9:.0f} GB free here"
    shards = _made(graph, instance("decode", graph.params.pretrain.dataset))
    if shards is None:
        dataset = graph.params.pretrain.dataset
        yield f"speed          not measured: there are no shards yet (videossl decode {dataset})"
        return
    if refused:
        return
    torch.set_num_threads(threads)
    store = ClipStore(shards)
    hours = 0.0
    for name in graph.methods:
        entry = getattr(graph.params.methods, name).motion
        motion = None
        if entry != NO_MOTION:
            folder = _made(graph, instance("motion", entry))
            if folder is None:
                yield f"{name:14} not measured: there is no motion yet (videossl motion {entry})"
                continue
            motion = MotionStore(folder)
        line, of_method = _method(graph.params, name, store, motion, device, threads)
        hours += of_method
        yield line
    yield f"pretraining    {hours:.2f} hours, one method after the other"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    return f"CPU ({platform.machine()})"


def _made(graph: Graph, node: Instance) -> Path | None:
    """An instance's output, if either engine has made it."""
    places = (Path("runs") / graph.path(node), Path("results") / node.path)
    return next((place for place in places if place.is_dir()), None)


def _method(
    params: Params,
    name: str,
    store: ClipStore,
    motion: MotionStore | None,
    device: torch.device,
    threads: int,
) -> tuple[str, float]:
    """A line on one method's speed, and the hours of its pretraining on this device."""
    spec = getattr(params.methods, name)
    encoder = import_module(BACKBONES[params.model.name]).build(params.model)
    task = getattr(params.task, spec.task)
    method = import_module(METHODS[name]).build(spec, task, params.clip, encoder)
    pretrain = params.pretrain
    videos = store.members(params.split, "train")
    source = TrainBatches(
        *(store, videos, method.requests, pretrain.augment, pretrain.batch_size, params.seed),
        motion=motion,
    )
    steps = pretrain.epochs * source.steps_per_epoch
    step = TrainingStep(
        Pretraining(method),
        spec.optimizer,
        batch_size=source.batch_size,
        total=max(steps, STEPS + 1),
        per_epoch=source.steps_per_epoch,
        precision=pretrain.precision,
        size=params.clip.size,
        accumulate=pretrain.accumulate,
        seed=params.seed,
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
        f"{name:14} {each:.3f} s a step, {clips * source.batch_size / each:.0f} clips/s "
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
