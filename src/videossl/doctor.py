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
from torch import Tensor

from videossl import machine
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.loader import Batch, TrainBatches, batches
from videossl.data.motion.store import MotionStore
from videossl.data.shards.store import ClipStore
from videossl.study.graph import Graph, Instance, instance
from videossl.study.registry import BACKBONES, METHODS
from videossl.study.schema import NO_MOTION, Params
from videossl.train import optim
from videossl.train.device import device, keep_freed_memory, place, readers
from videossl.train.prefetch import ahead

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "av", "decord", "lmdb", "simplejpeg")
STEPS = 4  # that are timed, after one that is not
READ = 12  # batches that are read without training


def report(graph: Graph) -> Iterator[str]:
    """Lines on the device, the versions, and, where the videos are decoded, speed and hours."""
    where = device()
    threads = machine.threads()
    yield f"device         {_name(where)}, {threads} threads"
    precision = graph.params.pretrain.precision
    refused = where.type == "cpu" and precision == "bfloat16"
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
    if where.type == "cpu":
        keep_freed_memory()
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
        line, of_method = _method(graph.params, name, store, motion, where, threads)
        hours += of_method
        yield line
    yield f"pretraining    {hours:.2f} hours, one method after the other"


def _name(where: torch.device) -> str:
    if where.type == "cuda":
        facts = torch.cuda.get_device_properties(where)
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
    where: torch.device,
    threads: int,
) -> tuple[str, float]:
    """A line on one method's speed, and the hours of its pretraining on this device."""
    spec = getattr(params.methods, name)
    encoder = import_module(BACKBONES[params.model.name]).build(params.model)
    task = getattr(params.task, spec.task)
    method = import_module(METHODS[name]).build(spec, task, params.clip, encoder)
    place(method, where)
    method.train()
    optimizer = optim.build(method, spec.optimizer)
    pretrain = params.pretrain
    videos = store.members(params.split, "train")
    source = TrainBatches(
        *(store, videos, method.requests, pretrain.augment, pretrain.batch_size, params.seed),
        motion=motion,
    )
    autocast = pretrain.precision == "bfloat16"
    pin = where.type == "cuda"
    workers = readers(where, threads)

    @torch.no_grad()
    def prepare(batch: Batch) -> tuple[list[Tensor], Batch]:
        moved = batch.to(where)
        return method.prepare(to_device_clips(moved, params.clip.size), moved.labels), moved

    seconds = []
    with (
        closing(batches(source.between(0, STEPS + 1), workers, pin)) as stream,
        closing(
            ahead(stream, prepare) if where.type == "cpu" else (prepare(batch) for batch in stream)
        ) as ready,
    ):
        begin = time.perf_counter()
        for clips, batch in ready:
            optimizer.zero_grad()
            with torch.autocast(where.type, torch.bfloat16, enabled=autocast):
                method.training_step(clips, batch.video, Tensor.backward, batch.labels)
            optimizer.step()
            method.after_step(0.5)
            _wait(where)
            seconds.append(time.perf_counter() - begin)
            begin += seconds[-1]
    step = statistics.median(seconds[1:])
    count = len(batch.clips) * source.batch_size
    read = _reading(source, workers, pin) * len(batch.clips)
    steps = pretrain.epochs * source.steps_per_epoch
    hours = step * steps / 3600
    line = (
        f"{name:14} {step:.3f} s a step, {count / step:.0f} clips/s "
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


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize()
