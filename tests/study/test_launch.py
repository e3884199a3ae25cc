"""How a training's processes are started: on GPUs of its own, and once on each node."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from videossl import machine
from videossl.job import Stopped, UserError
from videossl.study import launch
from videossl.study.failures import Failed
from videossl.study.stages import Instance

NODE = Instance("pretrain", (("row", "rspnet"), ("seed", "3")))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is claimed and started, in turn."""
    found: list[str] = []

    @contextmanager
    def claim(count: int) -> Iterator[None]:
        found.append(f"claims {count}")
        yield
        found.append("gives back")

    monkeypatch.setattr(launch.gpus, "claim", claim)
    monkeypatch.setattr(launch, "launch_ranks", lambda count, _: found.append(f"ranks {count}"))
    monkeypatch.setattr(launch, "launch_nodes", lambda n, _, key: found.append(f"nodes {n} {key}"))
    monkeypatch.setattr(launch.execution, "execute", lambda *_: found.append("here"))
    monkeypatch.setattr(machine, "launched", lambda: False)
    monkeypatch.delenv(launch.MEETING, raising=False)
    monkeypatch.delenv(launch.ALLOTTED, raising=False)
    return found


@pytest.mark.parametrize(
    ("gpus", "nodes", "meeting", "steps"),
    [
        (0, 1, "", ["here"]),
        (1, 1, "", ["claims 1", "here", "gives back"]),
        (4, 1, "", ["claims 4", "ranks 4", "gives back"]),
        (1, 2, "", ["nodes 2 pretrain.long.nodes"]),
        (1, 2, "2 host:1 7", ["claims 1", "ranks 1", "gives back"]),
        (4, 2, "2 host:1 7", ["claims 4", "ranks 4", "gives back"]),
    ],
)
def test_each_node_claims_the_gpus_of_its_own_ranks(
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    gpus: int,
    nodes: int,
    meeting: str,
    steps: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if meeting:
        monkeypatch.setenv(launch.MEETING, meeting)
    graph = SimpleNamespace(
        gpus=lambda _: gpus,
        nodes=lambda _: nodes,
        names=lambda _: {"pretrain": "long"},
        path=lambda _: Path("pretrain/rspnet/seed-3"),
    )
    launch.run(graph, NODE, {"shards": [Path("a")]}, Path("out"), None, None)
    assert said == steps


def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], dict[str, str]]]:
    found: list[tuple[Sequence[str], dict[str, str]]] = []
    monkeypatch.setattr(launch, "_run", lambda command, env, _: found.append((command, env)))
    return found


def test_nodes_are_told_where_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    found = started(monkeypatch)
    monkeypatch.setattr(launch.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv(launch.ALLOTTED, "3")
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    launch.launch_nodes(3, ["pretrain", "rspnet"], "pretrain.long.nodes")
    ((command, environment),) = found
    assert command[0] == "srun"
    for name in ("--nodes", "--ntasks"):
        assert command[command.index(name) + 1] == "3"
    assert command[command.index("--ntasks-per-node") + 1] == "1"
    assert command[-5:] == [sys.executable, "-m", "videossl", "pretrain", "rspnet"]
    nodes, endpoint, name = environment[launch.MEETING].split()
    assert (nodes, name) == ("3", "71")
    assert endpoint.rpartition(":")[0] == socket.gethostname()
    with pytest.raises(UserError, match=r"nodes = 2: needs a SLURM job of 2 nodes.* of 3 nodes"):
        launch.launch_nodes(2, [], "pretrain.long.nodes")


def test_ranks_of_a_node_meet_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found = started(monkeypatch)
    monkeypatch.delenv(launch.MEETING, raising=False)
    launch.launch_ranks(4, ["pretrain"])
    monkeypatch.setenv(launch.MEETING, "3 host:29 71")
    launch.launch_ranks(2, ["pretrain"])
    (alone, _), (together, _) = found
    assert "--standalone" in alone
    assert alone[alone.index("--nproc-per-node") + 1] == "4"
    assert "--standalone" not in together
    wanted = {"--nnodes": "3", "--rdzv-id": "71", "--rdzv-endpoint": "host:29"}
    wanted |= {"--nproc-per-node": "2", "--rdzv-backend": "c10d"}
    assert {name: together[together.index(name) + 1] for name in wanted} == wanted


def test_what_is_started_is_asked_to_stop_and_its_failure_is_one_line() -> None:
    with pytest.raises(Failed, match="one of 2 ranks failed") as failed:
        launch._run([sys.executable, "-c", "raise SystemExit(2)"], {**os.environ}, "2 ranks")
    assert failed.value.status == 2
    launch._run([sys.executable, "-c", ""], {**os.environ}, "2 ranks")
    # the child asks its parent, which is here, to stop, and ends when that is passed on
    child = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "signal.pause()\n"
    )
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Stopped, match="2 ranks were asked to stop"):
        launch._run([sys.executable, "-c", child], {**os.environ}, "2 ranks")
    assert signal.getsignal(signal.SIGUSR1) is before
