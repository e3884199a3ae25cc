"""Work on the next item while the caller is busy with this one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from videossl.machine import step_back

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterator[Item], work: Callable[[Item], Result]) -> Generator[Result]:
    """``work`` of each item, in order, done by one thread, an item ahead of the caller.

    torch lets other threads run while it computes, so augmentation on the CPU takes what the step
    before leaves of the cores; the thread steps back, else it would hold that step up. The caller
    asks for the first item itself, because the reader may fork then. Errors of ``items`` and
    ``work`` are raised where their result would be. Closing it waits for the thread; ``items`` is
    the caller's to close, after that.
    """

    def more() -> Result | None:
        item = next(items, None)
        return None if item is None else work(item)

    result = more()
    with ThreadPoolExecutor(1, initializer=step_back) as pool:
        while result is not None:
            future = pool.submit(more)
            yield result
            result = future.result()
