"""The walk through DVC's experiments in docs/experiments.md, as it stands."""

from __future__ import annotations

import re
import time

import pytest

from support import engines
from support.study import ROOT, Study

PAGE = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
WATCHED = next(line for line in COMMANDS if "--keep" in line)
PATIENCE = 600  # seconds, for both experiments of the queue


def wait_for_the_queue(study: Study) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        said = study.run("dvc", "queue", "status").stdout
        if "Running" not in said and "Queued" not in said:
            return said
        time.sleep(2)
    raise AssertionError(f"the queue did not end: {said}")


@pytest.mark.slow
def test_the_walk_as_it_stands(tiny):
    where, said = tiny, {}
    for command in COMMANDS:
        if command.startswith("cd "):
            where = Study(where.root / command.removeprefix("cd "))
            continue
        said.setdefault(command, []).append(where.run("bash", "-c", command).stdout)
        if command.startswith("dvc queue status"):
            assert wait_for_the_queue(where).count("Success") == 2

    def ran(command: str) -> list[set[str]]:
        graph = engines.load(tiny.root)
        return [engines.ran_dvc(text, graph) for text in said[command]]

    (slight,) = ran("dvc exp run --name slight -S task.margin=0.05")
    assert {name.partition("/")[2].partition("/")[0] for name in slight} == {"rspnet", ""}
    steady = "VIDEOSSL_DVCLIVE=live dvc exp run --name steady -S task.margin=0.12"
    assert ran(steady) == [slight]  # the same stages
    (followed,) = said[WATCHED]
    assert "live/pretrain/rspnet/seed-0/metrics.json:loss" in followed, followed
    assert ran("dvc repro") == [set(), set()]
    (shown,) = said["dvc exp show --only-changed --md"]
    assert all(name in shown for name in ("slight", "narrow", "wide"))
    (changed,) = said["dvc exp diff narrow wide --md"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in changed.splitlines()]
    assert ["params.yaml", "task.margin", "0.1", "0.2", "0.1"] in rows
    assert {row[1].partition(".")[0] for row in rows if row and "metrics" in row[0]} == {"rspnet"}
    assert (tiny.root / "compared" / "index.html").exists()
    (found,) = said["videossl compare narrow wide"]
    assert re.search(r"^A: narrow \(\w{7}\)\nB: wide \(\w{7}\)$", found, re.MULTILINE), found
    assert re.search(r"^task\.margin +0\.1 +0\.2$", found, re.MULTILINE), found
    moved = re.findall(r"^(\w+) +synthetic ", found, re.MULTILINE)
    assert set(moved) <= {"rspnet"}
    (found,) = said["videossl compare HEAD workspace --html compared.html"]
    assert re.search(r"^task\.margin +0\.15 +0\.12$", found, re.MULTILINE), found
    assert (tiny.root / "compared.html").exists()
    assert where.root != tiny.root
    assert "margin: 0.1 " in (where.root / "params.yaml").read_text()
