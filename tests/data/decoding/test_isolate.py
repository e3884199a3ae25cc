"""Children whose machine is busy, slow or short of memory: no item's result may depend on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from videossl.data.decoding import isolate
from videossl.job import UserError

handled: list[str] = []  # by this child


def work(seconds: float) -> None:
    """Use that much CPU time."""
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass


def behave(folder: Path, item: str, attempt: int) -> str:
    """What the item's name says; runs in a child."""
    what, _, argument = item.partition(" ")
    handled.append(item)
    if what == "spin":
        work(60)
    if what == "steps":  # long in all, but never long without progress
        for _ in range(int(argument)):
            work(0.35)
            isolate.progress()
    if what == "sleep":
        time.sleep(60)
    if what == "stopped":  # as on a machine that has no time for it
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "killed":
        seen = folder / f"seen {argument}"
        seen.write_text(seen.read_text() + "x" if seen.exists() else "x")
        if len(seen.read_text()) <= int(argument):
            os.kill(os.getpid(), signal.SIGKILL)
    if what == "note":
        (folder / f"{item} begins").touch()
        time.sleep(float(argument))  # until another child has started
        (folder / f"{item} ends").touch()
    if what == "alone":
        if not (folder / "once").exists():
            (folder / "once").touch()
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)
        names = {path.name for path in folder.iterdir()}
        open_ones = [n for n in names if n.endswith("begins") and n[:-6] + "ends" not in names]
        return f"beside {len(open_ones)}"
    if what == "new":
        if not (folder / "once").exists():
            (folder / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"after {len(handled) - 1} others"
    if what == "damaged":
        raise UserError("shard-00000.lmdb: damaged")
    if what == "first":
        while not (folder / "large").exists():
            time.sleep(0.01)
    if what == "large":
        (folder / "large").write_text(str(os.getpid()))
        return "x" * (1 << 28)
    return f"{what} {attempt}"


def run(folder: Path, items: list[str], children: int = 1, seconds: float = 1.0) -> list[object]:
    found = isolate.ordered(
        partial(behave, folder), items, children=children, deadline=lambda item: seconds
    )
    return list(found)


def test_progress_renews_the_deadline(tmp_path):
    assert run(tmp_path, ["steps 8", "a"], seconds=2.0) == ["steps 0", "a 0"]


@pytest.mark.parametrize("how", ["spin", "sleep"])
def test_no_progress_is_the_end(tmp_path, how):
    assert run(tmp_path, [how, "a"]) == [isolate.Failure("no progress within 1 s"), "a 0"]


def test_a_child_that_gets_no_time_is_waited_for(tmp_path, monkeypatch):
    """Three seconds on the clock of the wall, none of its own, and one second is allowed."""
    spawn = isolate._Pool._spawn
    children: list[int] = []

    def noted(self: isolate._Pool) -> None:
        spawn(self)
        children.append(list(self.children.values())[-1].process.pid)

    monkeypatch.setattr(isolate._Pool, "_spawn", noted)
    expire = isolate._Pool._expire
    begin = time.monotonic()

    def wakes(self: isolate._Pool) -> None:
        expire(self)
        if any(child.item is not None for child in self.children.values()):
            state = isolate._stat(Path("/proc", str(children[0])))[0]
            if state == "T" and time.monotonic() - begin > 3:
                os.kill(children[0], signal.SIGCONT)

    monkeypatch.setattr(isolate._Pool, "_expire", wakes)
    assert run(tmp_path, ["stopped"]) == ["stopped 0"]
    assert len(children) == 1


def test_killed_once_is_tried_again_as_at_first(tmp_path):
    assert run(tmp_path, ["killed 1", "a"]) == ["killed 0", "a 0"]


def test_killed_twice_is_a_failure_that_says_so(tmp_path):
    reason = "killed 2 times from outside (SIGKILL); was memory short?"
    assert run(tmp_path, ["killed 9", "a"]) == [isolate.Failure(reason), "a 0"]


def test_after_a_kill_an_item_runs_alone(tmp_path):
    items = ["alone", "note 3", "note 0"]
    assert run(tmp_path, items, children=2, seconds=60)[0] == "beside 0"


def test_after_a_kill_an_item_has_a_child_of_its_own(tmp_path):
    """The other child, which waits, has worked before: that may be why memory was short."""
    assert run(tmp_path, ["note 3", "new"], children=2, seconds=60)[1] == "after 0 others"


def test_killed_while_it_answers(tmp_path):
    """A pipe holds less than the answer, which is cut where nobody reads it any further."""
    found = isolate.ordered(
        partial(behave, tmp_path), ["first", "large"], children=2, deadline=lambda item: 60.0
    )
    assert next(found) == "first 0"
    time.sleep(1.5)  # while the other child fills its pipe
    os.kill(int((tmp_path / "large").read_text()), signal.SIGKILL)
    assert next(found) == "x" * (1 << 28)


def test_what_is_wrong_with_the_input_ends_it_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^shard-00000\.lmdb: damaged$"):
        run(tmp_path, ["damaged"])


def test_a_child_whose_parent_is_gone_says_nothing():
    program = (
        "from multiprocessing import Pipe\n"
        "from videossl.data.decoding import isolate\n"
        "here, there = Pipe()\n"
        "there.close()\n"
        "isolate._serve(here, print, 1 << 40)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
