"""What a study is doing, from the files that its stages write: whichever engine runs them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from videossl import progress
from videossl.job import UserError
from videossl.study import failures, graph, grouped, ownership, records, waiting_jobs
from videossl.study.execution import SCRATCH
from videossl.study.graph import Graph
from videossl.study.publication import RECORD
from videossl.study.stages import Instance
from videossl.study.waiting_jobs import Waiting

DONE, RUNNING, FAILED, STOPPED, WAITING = "done", "running", "failed", "stopped", "waiting"
STATES = (DONE, RUNNING, FAILED, STOPPED, WAITING)
WIDTH = 160  # of a line that no terminal shows


@dataclass(frozen=True)
class State:
    """Where an instance stands.

    Attributes:
        state: one of ``STATES``; stopped is what was begun, is not held by a process and gave no
            error: it was killed or told to stop, and resumes.
        seconds: that it took, where it is done and its record says so.
        holder: host, pid and since when, of the process that makes it or made it last.
        news: its last ``progress.json``.
        error: what it failed with.
        log: the file with its output, where its engine writes one.
    """

    node: Instance
    state: str
    seconds: float | None = None
    holder: Mapping[str, Any] = field(default_factory=dict)
    news: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    log: Path | None = None

    @property
    def left(self) -> float | None:
        """Seconds that it still needs at its present speed; None where that is not known."""
        rate = self.news.get("steps_per_second", 0)
        return (self.news["steps"] - self.news["step"]) / rate if rate else None


def look(study: Graph, folder: Path = Path()) -> list[State]:
    """The state of every instance of a study in ``folder``, each after those it needs."""
    return [_state(study, node, folder) for node in study.instances]


def _state(study: Graph, node: Instance, folder: Path) -> State:
    path = study.path(node)
    tree = grouped.place(folder / "results", node)
    for place in (folder / "runs" / path, tree, folder / grouped.PARTS / path):
        record = _json(place / RECORD)
        same = record.get("fingerprint") == path.name
        # DVC keeps what was made of equal bytes, whose fingerprint may be an older one
        if same or (place == tree and _made_of_same(record, study, node)):
            return State(node, DONE, seconds=record.get("seconds"))
    lock = folder / ownership.lock_of(*path.parts)
    log = folder / "logs" / path.with_suffix(".log")
    begun: dict[str, Any] = {
        "holder": _json(lock),
        "news": progress.read(folder / SCRATCH / path),
        "log": log if log.exists() else None,
    }
    if ownership.held(lock):
        return State(node, RUNNING, **begun)
    failure = failures.of("-".join(path.parts), folder)
    if failure is not None:
        return State(node, FAILED, error=failure.text, **begun)
    return State(node, STOPPED if begun["holder"] else WAITING, **begun)


def _made_of_same(record: Mapping[str, Any], study: Graph, node: Instance) -> bool:
    if record.get("code") != study.code(node):
        return False
    return records.made_with(record, study.leaves(node))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def seconds_left(states: Iterable[State]) -> tuple[float, list[str]]:
    """Seconds of work that is not done, one after the other; and the stages never seen so far.

    What is waiting is taken to need the mean of its stage's instances that are done.
    """
    states = list(states)
    known: dict[str, list[float]] = {}
    for one in states:
        if one.seconds is not None:
            known.setdefault(one.node.stage, []).append(one.seconds)
    total, unseen = 0.0, []
    for one in states:
        if one.state == DONE:
            continue
        if one.state == RUNNING and one.left is not None:
            total += one.left
        elif found := known.get(one.node.stage):
            total += sum(found) / len(found)
        else:
            unseen.append(one.node.stage)
    return total, list(dict.fromkeys(unseen))


# ------------------------------------------------------------------ what is shown


def shown(states: list[State], queue: Sequence[Waiting] = ()) -> RenderableType:
    """A line for the study, one per stage, one per instance that runs, stopped or failed.

    And how many of its jobs wait in the ``queue`` of a cluster, and a line for each job there that
    may wait for ever, of whichever study.
    """
    counts = Counter(one.state for one in states)
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state]]
    first = ", ".join(parts) + _outlook(states, counts[RUNNING]) + _in_queue(queue)
    lines: list[RenderableType] = [Text(first)]
    lines += [Text(), _stages(states)]
    for state, table in ((RUNNING, _running), (STOPPED, _stopped), (FAILED, _failed)):
        chosen = [one for one in states if one.state == state]
        if chosen:
            lines += [Text(), table(chosen)]
    stuck = [one for one in queue if one.advice]
    if stuck:
        lines += [Text(), _queued(stuck)]
    return Group(*lines)


def _outlook(states: list[State], running: int) -> str:
    total, unseen = seconds_left(states)
    if all(one.state == DONE for one in states):
        return ""
    without = f", without {', '.join(unseen)}, of which none is done" if unseen else ""
    if not running:
        return f"; nothing runs; {_duration(total)} of work left{without}"
    return f"; about {_duration(total / running)} left, {running} at a time{without}"


def _in_queue(queue: Sequence[Waiting]) -> str:
    here = Path.cwd()
    number = sum(Path(one.folder).resolve() == here for one in queue)
    return f"; {number} in SLURM's queue" if number else ""


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    table.columns[-1].overflow = "fold"
    return table


def _stages(states: list[State]) -> Table:
    table = _table("STAGE", *(state.upper() for state in STATES))
    for stage in dict.fromkeys(one.node.stage for one in states):
        counts = Counter(one.state for one in states if one.node.stage == stage)
        table.add_row(stage, *(str(counts[state] or "") for state in STATES))
    return table


def _running(states: list[State]) -> Table:
    table = _table(
        *("RUNNING", "SINCE", "STEP", "LOSS", "VIDEOS/S", "WAITING", "LEFT", "HOST", "PID")
    )
    for one in states:
        news = one.news
        table.add_row(
            *(str(one.node), str(one.holder.get("since", "")), _step(news)),
            f"{news['loss']:.3f}" if "loss" in news else "",
            f"{news['videos_per_second']:.1f}" if "videos_per_second" in news else "",
            f"{news['waiting_share']:.0%}" if "waiting_share" in news else "",
            _duration(one.left) if one.left is not None else "",
            *(str(one.holder.get(name, "")) for name in ("host", "pid")),
        )
    return table


def _stopped(states: list[State]) -> Table:
    table = _table("STOPPED", "SINCE", "STEP", "HOST")
    for one in states:
        table.add_row(
            *(str(one.node), str(one.holder.get("since", "")), _step(one.news)),
            str(one.holder.get("host", "")),
        )
    return table


def _failed(states: list[State]) -> Table:
    table = _table("FAILED", "LOG", "ERROR")
    for one in states:
        last = (one.error.strip().splitlines() or [""])[-1]
        table.add_row(str(one.node), str(one.log or ""), Text(last))
    return table


def _queued(queue: Sequence[Waiting]) -> Table:
    table = _table("MAY WAIT FOR EVER", "JOB", "REASON", "WHICH MEANS")
    for one in queue:
        table.add_row(*map(Text, (one.what, one.job, one.reason, one.advice)))
    return table


def _step(news: Mapping[str, Any]) -> str:
    return f"{news['step']}/{news['steps']}" if news else ""


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def report(every: float | None = None) -> None:
    """Print the state of the study in this folder; again and again where ``every`` says so.

    Raises:
        UserError: ``every`` is not above 0.
    """
    if every is not None and not every > 0:
        raise UserError(f"--watch {every:g}: must be seconds above 0")
    console = Console(soft_wrap=True) if _interactive() else Console(width=WIDTH)
    if every is None:
        console.print(shown(look(graph.load()), waiting_jobs.found()))
        return
    with Live(console=console, auto_refresh=False) as live:
        for states in _again(every):
            live.update(shown(states, waiting_jobs.found()), refresh=True)


def _interactive() -> bool:
    return Console().is_terminal


def _again(every: float) -> Iterator[list[State]]:
    """The states, until nothing is left to be done; ``params.yaml`` may change meanwhile."""
    while True:
        states = look(graph.load())
        yield states
        if all(one.state == DONE for one in states):
            return
        time.sleep(every)
