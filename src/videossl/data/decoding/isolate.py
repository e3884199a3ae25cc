"""Run a function over items in child processes that may crash, hang or run out of memory.

A child is spawned, lives long and is given one item at a time over a pipe. One that dies or makes
no progress is replaced, and costs its own item only. ``ProcessPoolExecutor`` is not enough: one
segmentation fault breaks the whole pool.

Which items have a result must not depend on what else the machine does. So a deadline counts the
child's own CPU time since it last reported ``progress``, or the time that it sleeps through; and a
child that was killed from outside (out of memory) is no fault of its item.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from videossl.job import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

GIB = 1 << 30
START_SECONDS = 300.0  # to import what the function needs, on a busy machine
WINDOW = 16  # items per child that may be finished ahead of the oldest unfinished one
POLL = 0.5  # seconds between two looks at what the children do
REPORT = 1.0  # seconds between two reports of progress
KILLS = 2  # an item whose child was killed from outside so often is given up
OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT}  # no fault of the item
TICKS = os.sysconf("SC_CLK_TCK")  # of CPU time in /proc, per second
READY, PROGRESS, DONE, FAILED = "ready", "progress", "done", "failed"
EXHAUSTED, FATAL = "exhausted", "fatal"


class Refused(Exception):
    """Raised by the function on bad input: its text alone is the reason."""


@dataclass(frozen=True)
class Failure:
    """Why an item has no result, in one line."""

    reason: str


def _no_report() -> None:
    """Outside a child there is nobody to tell."""


_report: Callable[[], None] = _no_report


def progress() -> None:
    """Called by the function, often: it is not hanging. Outside a child it does nothing."""
    _report()


@dataclass
class _Child:
    process: Any  # multiprocessing's SpawnProcess
    item: int | None = None
    ready: bool = False
    finished: int = 0
    spent: float = 0.0  # CPU seconds in all, when last looked at
    worked: float = 0.0  # CPU seconds since the last progress
    idle: float = 0.0  # seconds that it has slept through until now

    def renew(self) -> None:
        self.worked = self.idle = 0.0

    def look(self, elapsed: float) -> None:
        """Count what it did in the last ``elapsed`` seconds."""
        spent, asleep = _activity(self.process.pid)
        self.worked += max(0.0, spent - self.spent)
        self.idle = self.idle + elapsed if asleep and spent <= self.spent else 0.0
        self.spent = spent


def _activity(pid: int) -> tuple[float, bool]:
    """CPU seconds of a process, and whether it sleeps: not runnable, not waiting for a disk."""
    process = Path("/proc", str(pid))
    try:
        whole = _stat(process)
        states = {_stat(thread)[0] for thread in (process / "task").iterdir()}
    except (OSError, IndexError):  # it is gone, which its pipe tells
        return 0.0, False
    return (int(whole[11]) + int(whole[12])) / TICKS, not {"R", "D", "T"} & states


def _stat(process: Path) -> list[str]:
    """State, and what follows it in proc(5)'s order; the name before it may hold anything."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()


def ordered(
    function: Callable[[Item, int], Result],
    items: Sequence[Item],
    *,
    children: int,
    deadline: Callable[[Item], float],
    attempts: int = 2,
    memory: int = 4 * GIB,
    recycle: int = 500,
) -> Iterator[Result | Failure]:
    """``function(item, attempt)`` of every item, in the order of ``items``.

    An exception is a ``Failure`` at once. A crash, a missed ``deadline`` or exhausted ``memory``
    (bytes of address space per child) is tried again in a new child, ``attempts`` times in all,
    with ``attempt`` counting from 0. One that is killed from outside is tried again with the same
    ``attempt`` in a new child, no other at work; the second kill is a ``Failure``. A child is
    replaced after ``recycle`` items. ``deadline``: seconds of CPU time, or asleep, without
    ``progress``.

    Raises:
        UserError: a child cannot even start, so that no item is to blame; or the function's own.
    """
    pool = _Pool(function, items, deadline, attempts, memory, recycle)
    try:
        yield from pool.run(min(children, len(items)))
    finally:
        pool.close()


class _Pool(Generic[Item, Result]):
    def __init__(
        self,
        function: Callable[[Item, int], Result],
        items: Sequence[Item],
        deadline: Callable[[Item], float],
        attempts: int,
        memory: int,
        recycle: int,
    ) -> None:
        self.function, self.items, self.deadline = function, items, deadline
        self.attempts, self.memory, self.recycle = attempts, memory, recycle
        self.waiting = deque(range(len(items)))
        self.faults = [0] * len(items)
        self.kills = [0] * len(items)
        self.results: dict[int, Result | Failure] = {}
        self.children: dict[Connection, _Child] = {}
        self.looked = time.monotonic()

    def run(self, count: int) -> Iterator[Result | Failure]:
        for _ in range(count):
            self._spawn()
        following = 0
        while following < len(self.items):
            self._hand_out(following + WINDOW * count)
            pipes = [
                c for c, child in self.children.items() if child.item is not None or not child.ready
            ]
            for pipe in connection.wait(pipes, timeout=POLL):
                assert isinstance(pipe, Connection)
                self._receive(pipe)
            self._expire()
            while following in self.results:
                yield self.results.pop(following)
                following += 1

    def close(self) -> None:
        for pipe in list(self.children):
            self._stop(pipe)

    def _spawn(self) -> None:
        # Spawned, not forked: no threads, locks or open files of this process come along.
        context = get_context("spawn")
        pipe, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self.function, self.memory), daemon=True
        )
        process.start()
        theirs.close()
        self.children[pipe] = _Child(process)

    def _stop(self, pipe: Connection) -> int:
        """Kill the child and tell how it had ended, or was ended now."""
        process = self.children.pop(pipe).process
        pipe.close()
        process.kill()
        process.join()
        code: int = process.exitcode
        process.close()
        return code

    def _hand_out(self, limit: int) -> None:
        for pipe, child in list(self.children.items()):
            if not child.ready or child.item is not None:
                continue
            if not self.waiting or self.waiting[0] >= limit or not self._may_start():
                return
            if self.kills[self.waiting[0]] and child.finished:
                # what it has come to hold of memory may be what the other was killed for
                if all(other.ready for other in self.children.values()):
                    self._replace(pipe, "")
                return
            child.item = self.waiting.popleft()
            child.renew()
            # Found dead only now: the next wait reports the closed pipe as its end.
            with suppress(BrokenPipeError, ConnectionResetError):
                pipe.send((self.items[child.item], self.faults[child.item]))

    def _may_start(self) -> bool:
        """One whose child was killed has the machine for itself, as far as it is ours."""
        busy = [child.item for child in self.children.values() if child.item is not None]
        return not busy or not any(self.kills[item] for item in (self.waiting[0], *busy))

    def _receive(self, pipe: Connection) -> None:
        child = self.children[pipe]
        try:
            kind, value = pipe.recv()
        except (EOFError, OSError):  # OSError: it died while it sent a result
            self._died(pipe)
            return
        if kind == READY:
            child.ready = True
        elif kind == PROGRESS:
            child.renew()
        elif kind == EXHAUSTED:
            self._replace(pipe, f"out of memory (limit {self.memory >> 20} MiB)")
        elif kind == FATAL:
            raise UserError(value)
        else:
            assert child.item is not None
            self.results[child.item] = Failure(value) if kind == FAILED else value
            child.item = None
            child.finished += 1
            if child.finished >= self.recycle:
                self._replace(pipe, "")

    def _died(self, pipe: Connection) -> None:
        self.children[pipe].process.join(5)  # its pipe closes a moment before it is gone
        child = self.children[pipe]
        code = child.process.exitcode
        how = f"exit status {code}" if code is None or code >= 0 else signal.Signals(-code).name
        if not child.ready:
            raise UserError(
                f"a child process ended while starting ({how}); its error is above, or memory is "
                "short: fewer threads need less"
            )
        if code is not None and -code in OUTSIDE:
            self._killed(pipe, how)
        else:
            self._replace(pipe, f"crashed ({how})")

    def _expire(self) -> None:
        now = time.monotonic()
        # Time in which this process did not look, because it wrote a shard, counts for nobody.
        elapsed, self.looked = min(now - self.looked, 2 * POLL), now
        for pipe, child in list(self.children.items()):
            if child.item is None and child.ready:
                continue
            child.look(elapsed)
            limit = START_SECONDS
            if child.item is not None:
                limit = self.deadline(self.items[child.item])
            if max(child.worked, child.idle) < limit:
                continue
            if child.item is None:
                raise UserError(f"a child process did not start within {START_SECONDS:g} s")
            self._replace(pipe, f"no progress within {limit:g} s")

    def _killed(self, pipe: Connection, how: str) -> None:
        index = self.children[pipe].item
        if index is not None:
            self.kills[index] += 1
        self._replace(pipe, f"killed {KILLS} times from outside ({how}); was memory short?", True)

    def _replace(self, pipe: Connection, reason: str, killed: bool = False) -> None:
        """A new child for an old one; the item the old one held, if any, is tried again or lost."""
        index = self.children[pipe].item
        self._stop(pipe)
        if index is not None:
            self.faults[index] += not killed
            if self.faults[index] < self.attempts and self.kills[index] < KILLS:
                self.waiting.appendleft(index)
            else:
                self.results[index] = Failure(reason)
        self._spawn()


def _serve(pipe: Connection, function: Callable[[Any, int], Any], memory: int) -> None:
    """The life of a child: it ends with its parent, and says nothing of that."""
    with suppress(BrokenPipeError, ConnectionResetError):
        _answer(pipe, function, memory)


def _answer(pipe: Connection, function: Callable[[Any, int], Any], memory: int) -> None:
    """Answer items until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    pipe.send((READY, None))
    _report_through(pipe)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print about broken files
    while True:
        try:
            item, attempt = pipe.recv()
        except EOFError:
            return
        try:
            answer = (DONE, function(item, attempt))
        except MemoryError:
            pipe.send((EXHAUSTED, None))
            return
        except Refused as error:
            answer = (FAILED, str(error))
        except UserError as error:
            answer = (FATAL, str(error))
        except Exception as error:  # the item's fault, whatever it is: it becomes its reason
            answer = (FAILED, f"{type(error).__name__}: {_one_line(error)}")
        try:
            pipe.send(answer)
        except MemoryError:  # pickling takes as much again as the result
            pipe.send((EXHAUSTED, None))
            return


def _report_through(pipe: Connection) -> None:
    global _report
    last = time.monotonic()

    def report() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT:
            last = now
            pipe.send((PROGRESS, None))

    _report = report


def _one_line(error: Exception) -> str:
    # The whole text of an error about a file would name its folder.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
