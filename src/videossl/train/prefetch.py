"""Work on the next item while the caller is busy with this one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from videossl.machine import lower_priority

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(items: Iterator[Item], work: Callable[[Item], Result]) -> Generator[Result]:
    """``work`` of each item, in order, done by one thread, one item ahead of the caller.

    torch lets other threads run while it computes, so augmentation on the CPU takes what the step
    before leaves of the cores. The thread has a lower priority, else it would hold that step up.
    The caller asks for the first item itself, because the reader may fork then. Errors of ``items``
    and ``work`` are raised where their result would be. Closing the generator waits for the thread;
    after that the caller closes ``items``.
    """

    def more() -> Result | None:
        item = next(items, None)
        return None if item is None else work(item)

    result = more()
    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        while result is not None:
            future = pool.submit(more)
            yield result
            result = future.result()
