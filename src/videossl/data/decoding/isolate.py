"""Run a function over tasks in child processes that may crash, hang or run out of memory.

A child is spawned, lives long and is given one task at a time over a pipe. One that dies or misses
the deadline is replaced, and costs its own task only. ``ProcessPoolExecutor`` is not enough: one
segmentation fault breaks the whole pool.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

GIB = 1 << 30
START_SECONDS = 300.0  # to import what the function needs, on a busy machine
WINDOW = 16  # tasks per child that may be finished ahead of the oldest unfinished one
READY, DONE, FAILED, EXHAUSTED = "ready", "done", "failed", "exhausted"


class Refused(Exception):
    """Raised by the function on bad input: its text alone is the reason."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no result, in one line."""

    reason: str


@dataclass
class _Child:
    process: Any  # multiprocessing's SpawnProcess
    task: int | None = None
    ready: bool = False
    due: float = 0.0
    finished: int = 0


def ordered(
    function: Callable[[Task, int], Result],
    tasks: Sequence[Task],
    *,
    children: int,
    deadline: Callable[[Task], float],
    attempts: int = 2,
    memory: int = 4 * GIB,
    recycle: int = 500,
) -> Iterator[Result | Failure]:
    """``function(task, attempt)`` of every task, in the order of ``tasks``.

    An exception is a ``Failure`` at once. A crash, a missed ``deadline`` (seconds) or exhausted
    ``memory`` (bytes of address space per child) is tried again in a new child, ``attempts``
    times in all, with ``attempt`` counting from 0. A child is replaced after ``recycle`` tasks.

    Raises:
        RuntimeError: a child cannot even start, so that no task is to blame.
    """
    pool = _Pool(function, tasks, deadline, attempts, memory, recycle)
    try:
        yield from pool.run(min(children, len(tasks)))
    finally:
        pool.close()


class _Pool(Generic[Task, Result]):
    def __init__(
        self,
        function: Callable[[Task, int], Result],
        tasks: Sequence[Task],
        deadline: Callable[[Task], float],
        attempts: int,
        memory: int,
        recycle: int,
    ) -> None:
        self.function, self.tasks, self.deadline = function, tasks, deadline
        self.attempts, self.memory, self.recycle = attempts, memory, recycle
        self.waiting = deque(range(len(tasks)))
        self.tried = [0] * len(tasks)
        self.results: dict[int, Result | Failure] = {}
        self.children: dict[Connection, _Child] = {}

    def run(self, count: int) -> Iterator[Result | Failure]:
        for _ in range(count):
            self._spawn()
        following = 0
        while following < len(self.tasks):
            self._hand_out(following + WINDOW * count)
            busy = [c for c, child in self.children.items() if child.task is not None]
            starting = [c for c, child in self.children.items() if not child.ready]
            first_due = min(self.children[c].due for c in busy + starting)
            patience = max(0.0, first_due - time.monotonic())
            for pipe in connection.wait(busy + starting, timeout=patience):
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
        self.children[pipe] = _Child(process, due=time.monotonic() + START_SECONDS)

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
        for pipe, child in self.children.items():
            if child.ready and child.task is None and self.waiting and self.waiting[0] < limit:
                child.task = self.waiting.popleft()
                task = self.tasks[child.task]
                child.due = time.monotonic() + self.deadline(task)
                try:
                    pipe.send((task, self.tried[child.task]))
                except BrokenPipeError:
                    # Found dead only now; the next wait reports the closed pipe as its end.
                    continue

    def _receive(self, pipe: Connection) -> None:
        child = self.children[pipe]
        try:
            kind, value = pipe.recv()
        except (EOFError, ConnectionResetError):
            self._died(pipe)
            return
        if kind == READY:
            child.ready = True
        elif kind == EXHAUSTED:
            self._replace(pipe, f"out of memory (limit {self.memory >> 20} MiB)")
        else:
            assert child.task is not None
            self.results[child.task] = Failure(value) if kind == FAILED else value
            child.task = None
            child.finished += 1
            if child.finished >= self.recycle:
                self._replace(pipe, "")

    def _died(self, pipe: Connection) -> None:
        self.children[pipe].process.join(5)  # its pipe closes a moment before it is gone
        child = self.children[pipe]
        code = child.process.exitcode
        how = f"exit status {code}" if code is None or code >= 0 else signal.Signals(-code).name
        if not child.ready:
            raise RuntimeError(f"a child process ended while starting ({how}); see its error above")
        self._replace(pipe, f"crashed ({how})")

    def _expire(self) -> None:
        now = time.monotonic()
        for pipe, child in list(self.children.items()):
            if (child.task is None and child.ready) or now < child.due:
                continue
            if child.task is None:
                raise RuntimeError(f"a child process did not start within {START_SECONDS:g} s")
            limit = self.deadline(self.tasks[child.task])
            self._replace(pipe, f"no result within {limit:g} s")

    def _replace(self, pipe: Connection, reason: str) -> None:
        """A new child for an old one; the task the old one held, if any, is tried again or lost."""
        index = self.children[pipe].task
        self._stop(pipe)
        if index is not None:
            self.tried[index] += 1
            if self.tried[index] < self.attempts:
                self.waiting.appendleft(index)
            else:
                self.results[index] = Failure(reason)
        self._spawn()


def _serve(pipe: Connection, function: Callable[[Any, int], Any], memory: int) -> None:
    """The life of a child: answer tasks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    pipe.send((READY, None))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print about broken files
    while True:
        try:
            task, attempt = pipe.recv()
        except EOFError:
            return
        try:
            answer = (DONE, function(task, attempt))
        except MemoryError:
            pipe.send((EXHAUSTED, None))
            return
        except Refused as error:
            answer = (FAILED, str(error))
        except Exception as error:  # the task's fault, whatever it is: it becomes its reason
            answer = (FAILED, f"{type(error).__name__}: {_one_line(error)}")
        pipe.send(answer)


def _one_line(error: Exception) -> str:
    # The whole text of an error about a file would name its folder.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
