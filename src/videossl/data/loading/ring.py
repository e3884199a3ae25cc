"""Batches through a ring of shared memory that is allocated once.

Worker processes write the rows of a batch in place; the training process gets views of the slot,
nothing is pickled but the draws, and no batch allocates. Memory is anonymous, so a small
``/dev/shm`` (containers) does not matter. What a batch holds depends on its number only, so it is
the same for any number of workers.
"""

from __future__ import annotations

import atexit
import mmap
import multiprocessing as mp
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from videossl import machine
from videossl.data.loading.augment import Draw
from videossl.data.loading.fields import FIELDS
from videossl.data.loading.sampling import ClipRequest, Kind
from videossl.data.shards.store import ClipStore
from videossl.job import UserError

SLOTS = 4  # one in use, one whose copy to the device may be under way, two being filled
Sample = list[tuple[ClipRequest, Draw]]
Draws = NDArray[np.float32]  # (K, rows, FIELDS)
Labels = NDArray[np.float32]  # (rows, N), of all the clips of a row


class Source(Protocol):
    """What batches there are; every method is pure."""

    store: ClipStore

    def store_of(self, kind: Kind) -> ClipStore:
        """Where clips of a kind are read; its videos are those of ``store``."""

    def videos_of(self, step: int) -> NDArray[np.int64]:
        """The videos in the rows of a batch, (B,)."""

    def examples_of(self, step: int) -> NDArray[np.int64]:
        """The examples in the rows of a batch, (B,)."""

    def sample_of(self, step: int, row: int) -> Sample:
        """The clips of one row, each with its augmentation: as many, and as long, in every row."""

    def steps(self) -> range:
        """The batches in question."""


@dataclass(frozen=True)
class Filled:
    """A batch in its slot: valid until the next one is asked for."""

    clips: list[NDArray[np.uint8]]  # K x (B, T, P, H, W, C): P planes of a stored frame
    draws: Draws  # (K, B, FIELDS)
    labels: Labels
    videos: NDArray[np.int64]  # (B,)
    examples: NDArray[np.int64]  # (B,)


def shapes(source: Source, step: int) -> list[tuple[int, ...]]:
    """Shape of each clip's array in a batch: frames are padded to the batch's largest."""
    videos = [source.store.videos[int(video)] for video in source.videos_of(step)]
    size = (max(v.height for v in videos), max(v.width for v in videos))
    found: list[tuple[int, ...]] = []
    for request, _ in source.sample_of(step, 0):
        store = source.store_of(request.kind)
        found.append((len(videos), len(request.frames), store.planes, *size, store.channels))
    return found


def as_arrays(buffer: NDArray[np.uint8], layout: list[tuple[int, ...]]) -> list[NDArray[np.uint8]]:
    """Arrays of the shapes of ``layout``, one after another in a flat ``buffer``."""
    found, start = [], 0
    for shape in layout:
        end = start + int(np.prod(shape))
        found.append(buffer[start:end].reshape(shape))
        start = end
    return found


def fill(source: Source, step: int, rows: range, buffer: NDArray[np.uint8]) -> tuple[Draws, Labels]:
    """Write some rows of a batch into ``buffer`` and return their draws and labels.

    Raises:
        CorruptShard: stored bytes are damaged.
    """
    clips = as_arrays(buffer, shapes(source, step))
    videos = source.videos_of(step)
    draws = np.empty((len(clips), len(rows), FIELDS), np.float32)
    labels: list[list[float]] = []
    for place, row in enumerate(rows):
        video = int(videos[row])
        info = source.store.videos[video]
        sample = source.sample_of(step, row)
        for k, (request, drawn) in enumerate(sample):
            draws[k, place] = drawn
            store = source.store_of(request.kind)
            _read(store, video, request, clips[k][row], info.height, info.width)
        labels.append([value for request, _ in sample for value in request.labels])
    return draws, np.array(labels, np.float32).reshape(len(rows), len(labels[0]) if labels else 0)


def _read(
    store: ClipStore,
    video: int,
    request: ClipRequest,
    out: NDArray[np.uint8],
    height: int,
    width: int,
) -> None:
    """Read one clip into (T, P, H, W, C), padded where it is smaller."""
    frames, planes, *most, channels = out.shape
    if most == [height, width]:
        whole = out.reshape(frames, planes * height, width, channels)  # a view
        store.clip(video, request.frames, out=whole)
        return
    clip = store.clip(video, request.frames)
    out[:, :, :height, :width] = clip.reshape(frames, planes, height, width, channels)
    out[:, :, height:] = 0
    out[:, :, :height, width:] = 0


def stream(source: Source, workers: int, pin: bool) -> Iterator[Filled]:
    """The batches of ``source.steps()``, in order; without ``workers``, read by this process.

    With ``pin`` the memory is page-locked, so that copies to a GPU can be asynchronous: a slot is
    filled again only when what was enqueued before the next batch was asked for is done.

    Raises:
        CorruptShard: stored bytes are damaged.
        UserError: a worker process died.
    """
    if not source.steps():
        return
    ring = _Ring(source, workers, pin)
    try:
        yield from ring
    finally:
        ring.close()


def _capacity(source: Source) -> int:
    """Bytes of the largest possible batch."""
    first = source.steps()[0]
    videos = source.store.videos
    size = max(v.height for v in videos) * max(v.width for v in videos)
    return sum(
        rows * frames * planes * channels * size
        for rows, frames, planes, _, _, channels in shapes(source, first)
    )


class _Ring:
    def __init__(self, source: Source, workers: int, pin: bool) -> None:
        self.source = source
        self.pin = pin and torch.cuda.is_available()
        count = SLOTS if workers or self.pin else 1
        size = _capacity(source)
        # untouched pages cost nothing, so the largest possible batch may be far from the usual one
        self.memory = [np.frombuffer(mmap.mmap(-1, size), np.uint8) for _ in range(count)]
        if self.pin:
            for slot in self.memory:
                _register(slot)
        self.workers = _Workers(source, self.memory, workers) if workers else None

    def close(self) -> None:
        if self.workers is not None:
            self.workers.close()
        if self.pin:
            torch.cuda.synchronize()
            for slot in self.memory:
                _cudart().cudaHostUnregister(slot.ctypes.data)

    def __iter__(self) -> Iterator[Filled]:
        steps = iter(self.source.steps())
        free = deque(range(len(self.memory)))
        cooling: deque[tuple[int, Any]] = deque()  # slots, and what must be done before reuse
        started: deque[tuple[int, int]] = deque()  # (step, slot), the next batch first
        while True:
            while free and (step := next(steps, None)) is not None:
                slot = free.popleft()
                started.append((step, slot))
                if self.workers is not None:
                    self.workers.start(step, slot)
            if not started:
                return
            step, slot = started.popleft()
            yield self._filled(step, slot)
            if not self.pin:
                free.append(slot)
                continue
            cooling.append((slot, torch.cuda.current_stream().record_event()))
            if len(cooling) > 1:
                slot, event = cooling.popleft()
                event.synchronize()
                free.append(slot)

    def _filled(self, step: int, slot: int) -> Filled:
        videos = self.source.videos_of(step)
        if self.workers is None:
            draws, labels = fill(self.source, step, range(len(videos)), self.memory[slot])
        else:
            draws, labels = self.workers.finish(step)
        clips = as_arrays(self.memory[slot], shapes(self.source, step))
        return Filled(clips, draws, labels, videos, self.source.examples_of(step))


def _cudart() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _register(slot: NDArray[np.uint8]) -> None:
    error = _cudart().cudaHostRegister(slot.ctypes.data, slot.nbytes, 0)
    if int(error) != 0:
        raise RuntimeError(f"cannot page-lock {slot.nbytes} bytes: CUDA error {int(error)}")


class _Workers:
    """Processes that each fill an equal share of every batch's rows."""

    def __init__(self, source: Source, memory: Sequence[NDArray[np.uint8]], count: int) -> None:
        # Forked: the index of a large dataset is shared, and nothing has to be imported again.
        # The children use neither torch nor a GPU.
        context = mp.get_context("fork")
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        self.found: dict[int, dict[int, tuple[Draws, Labels]]] = {}  # step -> worker -> its rows
        for number in range(count):
            ours, theirs = context.Pipe()
            inherited = [*self.pipes, ours]
            process = context.Process(
                target=_serve,
                args=(source, memory, number, count, theirs, inherited),
                daemon=True,
            )
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        # multiprocessing's own end would ask them with SIGTERM, which they ignore, and wait
        atexit.register(self.close)

    def start(self, step: int, slot: int) -> None:
        self.found[step] = {}
        for number, pipe in enumerate(self.pipes):
            try:
                pipe.send((step, slot))
            except BrokenPipeError:
                self._died(number)

    def finish(self, step: int) -> tuple[Draws, Labels]:
        """Wait until every worker has done its share of a batch."""
        while len(self.found[step]) < len(self.pipes):
            for pipe in wait(self.pipes):
                assert isinstance(pipe, Connection)
                number = self.pipes.index(pipe)
                try:
                    done, answer = pipe.recv()
                except (EOFError, ConnectionResetError):
                    self._died(number)
                if isinstance(answer, Exception):
                    raise answer
                self.found[done][number] = answer
        parts = self.found.pop(step)
        draws, labels = zip(*(parts[number] for number in sorted(parts)), strict=True)
        return np.concatenate(draws, axis=1), np.concatenate(labels)

    def _died(self, number: int) -> None:
        process = self.processes[number]
        process.join(5)
        code = process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"
        raise UserError(
            f"a process that reads clips ended ({how}); was memory short? Run it again to resume"
        )

    def close(self) -> None:
        atexit.unregister(self.close)
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.kill()  # it holds nothing that a kill could leave half done
            process.join()
            process.close()


def _share(rows: int, number: int, count: int) -> range:
    """The rows of one worker among ``count``."""
    return range(rows * number // count, rows * (number + 1) // count)


def _serve(
    source: Source,
    memory: Sequence[NDArray[np.uint8]],
    number: int,
    count: int,
    pipe: Connection,
    inherited: Sequence[Connection],
) -> None:
    """The life of a worker: fill rows until the pipe closes, which it does if the parent dies."""
    for other in inherited:
        other.close()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(name, signal.SIG_IGN)  # the parent decides when to stop
    machine.lower_priority()
    while True:
        try:
            step, slot = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        rows = _share(len(source.videos_of(step)), number, count)
        try:
            answer: Any = fill(source, step, rows, memory[slot])
        except Exception as error:  # raised again in the training process
            answer = error
        try:
            pipe.send((step, answer))
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent died meanwhile
