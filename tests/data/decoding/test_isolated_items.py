"""Children that do work: trouble costs its own item, and results come in order."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from videossl.data.decoding import isolate
from videossl.job import UserError


def trouble(task: str, attempt: int) -> str:
    if task == "crash" or (task == "crash once" and attempt == 0):
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "leave":
        os._exit(3)
    if task == "hang":
        time.sleep(10_000)
    if task == "fill":
        return str(len(bytearray(64 << 30)))
    if task == "raise":
        raise LookupError("nothing there")
    if task == "refuse":
        raise isolate.Refused("not this one")
    return f"{task} {attempt}"


def patience(task: str) -> float:
    return 1.0 if task == "hang" else 120.0


def test_trouble_costs_its_own_task() -> None:
    tasks = ["a", "crash", "b", "hang", "fill", "c", "raise", "refuse", "leave", "d"]
    results = isolate.ordered(
        trouble, tasks, children=2, deadline=patience, attempts=1, memory=2 * isolate.GIB
    )
    assert list(results) == [
        "a 0",
        isolate.Failure("crashed (SIGSEGV)"),
        "b 0",
        isolate.Failure("no progress within 1 s"),
        isolate.Failure("out of memory (limit 2048 MiB)"),
        "c 0",
        isolate.Failure("LookupError: nothing there"),
        isolate.Failure("not this one"),
        isolate.Failure("crashed (exit status 3)"),
        "d 0",
    ]


def test_crash_is_tried_again() -> None:
    tasks = ["a", "crash once", "crash", "b"]
    assert list(isolate.ordered(trouble, tasks, children=1, deadline=patience)) == [
        "a 0",
        "crash once 1",
        isolate.Failure("crashed (SIGSEGV)"),
        "b 0",
    ]


def slow_first(task: int, attempt: int) -> tuple[int, int]:
    if task == 0:
        time.sleep(0.3)
    return task, os.getpid()


def test_results_are_in_order_and_children_are_replaced() -> None:
    results = list(
        isolate.ordered(slow_first, range(60), children=2, deadline=lambda task: 120.0, recycle=25)
    )
    numbers, pids = zip(*(r for r in results if not isinstance(r, isolate.Failure)), strict=True)
    assert list(numbers) == list(range(60))
    assert os.getpid() not in pids
    assert len(set(pids)) >= 3


def test_no_task() -> None:
    assert list(isolate.ordered(trouble, [], children=2, deadline=patience)) == []


class CannotArrive:
    """Ends the child that tries to receive it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (5,)

    def __call__(self, task: str, attempt: int) -> str:
        raise AssertionError


def test_children_that_cannot_start_are_no_tasks_fault() -> None:
    with pytest.raises(UserError, match=r"ended while starting \(exit status 5\)"):
        list(isolate.ordered(CannotArrive(), ["a"], children=1, deadline=patience))
