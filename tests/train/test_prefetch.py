"""Work done ahead: in order, one item and no more, errors where they belong."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest

from videossl.train.prefetch import prefetch


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_results_come_in_order_and_end(count):
    assert list(prefetch(iter(range(1, count + 1)), lambda x: x * x)) == [
        x * x for x in range(1, count + 1)
    ]


def test_the_next_item_is_worked_on_while_the_caller_has_this_one():
    begun = {x: threading.Event() for x in range(3)}

    def work(x: int) -> tuple[int, str]:
        begun[x].set()
        return x, threading.current_thread().name

    results = prefetch(iter(range(3)), work)
    assert next(results) == (0, threading.current_thread().name)
    assert begun[1].wait(10)
    assert not begun[2].wait(0.2)  # one ahead, no more
    number, thread = next(results)
    assert number == 1
    assert thread != threading.current_thread().name


def test_the_thread_that_works_ahead_has_a_lower_priority_and_the_caller_has_not():
    mine, *ahead_of_me = prefetch(iter(range(4)), lambda _: os.nice(0))
    assert mine == os.nice(0)
    assert all(value > mine or value == 19 for value in ahead_of_me)


def test_an_error_comes_where_its_result_would():
    def work(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    results = prefetch(iter([1, 2, 3]), work)
    assert next(results) == 1
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_closing_waits_for_the_thread():
    begun, ended = threading.Event(), threading.Event()

    def items():
        yield 1
        begun.set()
        ended.wait(0.2)
        ended.set()
        yield 2

    stream = items()
    with closing(stream), closing(prefetch(stream, lambda x: x)) as results:
        assert next(results) == 1
        assert begun.wait(10)
    assert ended.is_set()
    assert stream.gi_frame is None  # closed, and not while it ran
