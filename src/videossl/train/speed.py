"""How fast a training goes, and how much of it is waiting for clips."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

Item = TypeVar("Item")


class Meter:
    """A row per epoch: videos a second, share of the time spent waiting, peak memory in MiB.

    After a resume, the first row covers only the part since the restart.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._restart()

    def _restart(self) -> None:
        self._begin, self._waited, self._batches = time.monotonic(), 0.0, 0

    def timed(self, stream: Iterable[Item]) -> Iterator[Item]:
        """The items of ``stream``; the time until each is there is waiting."""
        items = iter(stream)
        while True:
            begin = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            self._waited += time.monotonic() - begin
            self._batches += 1
            yield item

    def now(self, batch_size: int) -> dict[str, float]:
        """Videos a second and share of waiting of this epoch so far."""
        seconds = max(time.monotonic() - self._begin, 1e-9)
        return {
            "videos_per_second": self._batches * batch_size / seconds,
            "waiting_share": self._waited / seconds,
        }

    def end_epoch(self, epoch: int, batch_size: int) -> None:
        """Close an epoch's row."""
        self.rows.append({"epoch": epoch, **self.now(batch_size), "peak_memory": _peak_memory()})
        self._restart()


def _peak_memory() -> float:
    """MiB of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
