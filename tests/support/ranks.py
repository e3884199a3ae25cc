"""Ranks for tests, forked from one process that has imported what they need.

That process computes nothing, so its copies are as good as new processes; an import of torch takes
seconds, and several ranks of many tests would each pay it. ``torchrun`` itself is tried in
``test_ranks.py`` and ``test_several_ranks.py``.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from typing import Any

from torch import distributed as dist
from torch import multiprocessing as mp

START = "forkserver"
LOADED = ["support.ranked", "kornia.enhance"]


def start(function: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call ``function(number, *arguments)`` in ``count`` processes and wait.

    Raises:
        ProcessRaisedException: one failed; the message has its traceback.
    """
    multiprocessing.get_context(START).set_forkserver_preload(LOADED)
    mp.start_processes(function, arguments, nprocs=count, start_method=START)


def launch(function: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call ``function(*arguments)`` in ``count`` ranks, which see what ``torchrun`` sets.

    One is started without that, as a single process is.
    """
    if count == 1:
        start(_with, 1, [dict(os.environ)], function, arguments)
        return
    # as with torchrun the one that launches has the store, so its port is free
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "TORCHELASTIC_RUN_ID": "test",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    ranks = [{**shared, "RANK": str(r), "LOCAL_RANK": str(r)} for r in range(count)]
    start(_with, count, ranks, function, arguments)


def _with(
    number: int,
    environments: list[Mapping[str, str]],
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """Call the function with the environment of this rank: the server's is that of its start."""
    os.environ.clear()
    os.environ.update(environments[number])
    function(*arguments)
