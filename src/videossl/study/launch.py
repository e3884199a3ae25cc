"""Run one stage instance: here, once per GPU under ``torchrun``, or on several machines."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from videossl import machine
from videossl.job import Stopped, UserError
from videossl.study import execution, failures, gpus
from videossl.study.graph import Graph
from videossl.study.stages import LOOPED, Instance

MEETING = "VIDEOSSL_NODES"  # nodes, host:port and name of a training, for those of its nodes
ALLOTTED = "SLURM_JOB_NUM_NODES"


def run(
    graph: Graph,
    node: Instance,
    inputs: Mapping[str, Sequence[Path]],
    out: Path,
    expect: str | None,
    threads: int | None,
    attempt: int = 1,
) -> None:
    """Run one instance on GPUs of its own, in as many processes and nodes as its budget says."""
    name = "-".join(graph.path(node).parts)
    if machine.launched():  # one rank of several
        with failures.one_of_several(name):
            execution.execute(graph, node, inputs, out, expect, threads)
        return
    count, nodes = graph.gpus(node), graph.nodes(node)
    arguments = command(node, inputs, out, expect, threads)
    if on_node():
        with failures.one_of_several(name), claimed(count):
            launch_ranks(count, arguments)
        return
    with failures.noted(name, attempt):
        if nodes > 1:
            budget = graph.names(node)["pretrain"]
            launch_nodes(nodes, arguments, f"pretrain.{budget}.nodes")
            return
        with claimed(count):
            if count > 1:
                launch_ranks(count, arguments)
            else:
                execution.execute(graph, node, inputs, out, expect, threads)


def claimed(count: int) -> AbstractContextManager[object]:
    """GPUs of its own for what runs in the block; nothing where none is needed."""
    return gpus.claim(count) if count else nullcontext()


def command(
    node: Instance,
    inputs: Mapping[str, Sequence[Path]],
    out: Path,
    expect: str | None = None,
    threads: int | None = None,
) -> list[str]:
    """The arguments of ``videossl`` that run one instance."""
    key = dict(node.key)
    words = [node.stage, *(value for name, value in key.items() if name not in LOOPED)]
    for name in LOOPED:
        words += [f"--{name}", key[name]] if name in key else []
    for role, paths in inputs.items():
        words += [f"--{role}", *map(str, paths)] if paths else []
    words += ["--out", str(out)]
    words += ["--expect", expect] if expect else []
    words += ["--threads", str(threads)] if threads else []
    return words


def on_node() -> bool:
    """Whether this process was started by ``launch_nodes``, as one of them."""
    return MEETING in os.environ


def launch_nodes(count: int, arguments: Sequence[str], key: str) -> None:
    """Run ``videossl`` with ``arguments`` once on each node of this SLURM job, and wait.

    Each then starts its own ranks, which meet at a port of this machine. ``key`` is what holds the
    number of nodes, for messages.

    Raises:
        Stopped: they were asked to stop and did.
        UserError: this is no job of so many nodes.
        Failed: one of them failed; it has said why.
    """
    allotted = os.environ.get(ALLOTTED, "")
    if shutil.which("srun") is None or allotted != str(count):
        found = f"a SLURM job of {allotted} nodes" if allotted else "no SLURM job"
        raise UserError(f"{key} = {count}: needs a SLURM job of {count} nodes, and this is {found}")
    name = os.environ.get("SLURM_JOB_ID", "videossl")
    meeting = f"{count} {socket.gethostname()}:{_free_port()} {name}"
    each = ["--nodes", str(count), "--ntasks", str(count), "--ntasks-per-node", "1"]
    command = ["srun", "--overlap", "--kill-on-bad-exit=1", *each]
    command += [sys.executable, "-m", "videossl", *arguments]
    _run(command, {**os.environ, MEETING: meeting}, f"{count} nodes")


def launch_ranks(count: int, arguments: Sequence[str]) -> None:
    """Run ``videossl`` with ``arguments`` in ``count`` ranks on this machine, and wait.

    On one of several nodes they are a part of all ranks.

    Raises:
        Stopped: they were asked to stop and did.
        Failed: a rank failed; it has said why.
    """
    where = ["--standalone"]
    if on_node():
        nodes, endpoint, name = os.environ[MEETING].split()
        where = ["--nnodes", nodes, "--rdzv-backend", "c10d", "--rdzv-id", name]
        where += ["--rdzv-endpoint", endpoint]
    # torchrun would set one thread itself, and say so
    environment = {"OMP_NUM_THREADS": str(machine.threads()), **os.environ}
    with TemporaryDirectory(prefix="videossl-ranks-") as logs:  # torchrun would leave one behind
        command = [sys.executable, "-m", "torch.distributed.run", *where, "--log-dir", logs]
        command += ["--nproc-per-node", str(count), "--module", "videossl", *arguments]
        _run(command, environment, f"{count} ranks")


def _run(command: Sequence[str], environment: dict[str, str], what: str) -> None:
    """Wait for a command; a signal to stop is passed on, and what it started saves its state."""
    asked: list[int] = []
    with subprocess.Popen(command, env=environment) as run:

        def pass_on(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            run.send_signal(signal.SIGTERM)

        old = {s: signal.signal(s, pass_on) for s in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            code = run.wait()
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
    if asked:
        raise Stopped(f"{what} were asked to stop")
    if code:
        raise failures.Failed(what, code)


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])
