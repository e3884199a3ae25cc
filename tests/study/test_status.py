"""What `videossl status` says of stages that wait, run, are killed, fail and are done."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.study import Study
from videossl import cli, progress
from videossl.study import failures, ownership, records, status
from videossl.study.graph import Graph
from videossl.study.stages import Instance, instance

SELECT = instance("select", "probe", "synthetic")
PRETRAIN = instance("pretrain", "rspnet", "0")
EMBED = instance("embed", "rspnet", "synthetic", "0")


def of(planned: Graph, node: Instance) -> status.State:
    return next(state for state in status.look(planned) if state.node == node)


def store(planned: Graph, node: Instance, folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True)
    head = {"stage": node.stage, "key": dict(node.key), "params": {}, "files": {}}
    fingerprint = planned.fingerprint(node)
    records.write({**head, "fingerprint": fingerprint, "seconds": seconds}, folder)


def note(planned: Graph, node: Instance) -> str:
    return "-".join(planned.path(node).parts)


def test_at_first_everything_waits(planned, capsys):
    assert {state.state for state in status.look(planned)} == {status.WAITING}
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    total = len(planned.instances)
    assert said.startswith(f"{total} waiting; nothing runs; 0 s of work left, without prepare, ")
    assert re.search(r"^pretrain +11 *$", said, re.MULTILINE)


@pytest.mark.parametrize("engine", ["runs", "results", "scratch/parts"])
def test_what_is_there_is_done_in_whichever_tree(planned, engine):
    path = planned.path(SELECT) if engine != "results" else Path("select/probe/synthetic")
    store(planned, SELECT, Path(engine, path), 3.0)
    assert of(planned, SELECT) == status.State(SELECT, status.DONE, seconds=3.0)
    record = Path(engine, path, "stage.json")
    record.write_text(record.read_text().replace(planned.fingerprint(SELECT), "0" * 12))
    assert of(planned, SELECT).state == status.WAITING  # of other parameters


def test_what_dvc_keeps_because_its_inputs_are_the_same_bytes_is_done(planned):
    made = {"params": planned.leaves(SELECT), "code": planned.code(SELECT)}
    for folder in (Path("results/select/probe/synthetic"), Path("runs", planned.path(SELECT))):
        folder.mkdir(parents=True)
        head = {"stage": "select", "key": dict(SELECT.key), "fingerprint": "0" * 12, "files": {}}
        records.write({**head, **made, "seconds": 1.0}, folder)
    assert of(planned, SELECT).state == status.DONE
    shutil.rmtree("results")
    assert of(planned, SELECT).state == status.WAITING


def test_a_running_stage_tells_how_far_it_is(planned, capsys):
    path = planned.path(PRETRAIN)
    with ownership.owned(ownership.lock_of(*path.parts), "it"):
        assert of(planned, PRETRAIN).state == status.RUNNING
        assert of(planned, PRETRAIN).left is None
        news = {"step": 40, "steps": 100, "steps_per_second": 2.0}
        more = {"loss": 1.25, "videos_per_second": 64.0, "waiting_share": 0.125}
        file = Path("scratch", path, progress.FILE)
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(news | more))
        state = of(planned, PRETRAIN)
        assert state.left == 30.0
        status.report()
    row = next(line for line in capsys.readouterr().out.splitlines() if "40/100" in line)
    for shown in (
        "pretrain/rspnet/seed-0",
        "1.250",
        "64.0",
        "12%",
        "30 s",
        str(state.holder["pid"]),
    ):
        assert shown in row
    assert of(planned, PRETRAIN).state == status.STOPPED  # released: it ended without a word


def test_a_failure_is_shown_with_its_last_line_and_its_log(planned, capsys):
    log = Path("logs", planned.path(PRETRAIN).with_suffix(".log"))
    log.parent.mkdir(parents=True)
    log.touch()
    with pytest.raises(OSError, match="lost"), failures.noted(note(planned, PRETRAIN)):
        raise OSError("first line\n[red] is lost")
    status.report()
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("pretrain/rspnet/seed-0"))
    assert row.rstrip().endswith("[red] is lost")
    assert log.name in row
    with failures.noted(note(planned, PRETRAIN)):
        pass
    assert of(planned, PRETRAIN).state == status.WAITING


def test_time_left_is_what_such_stages_took(planned):
    others = [instance("pretrain", row, "0") for row in ("vtdl", "hdc")]
    for node, seconds in zip(others, (10.0, 30.0), strict=True):
        store(planned, node, Path("runs", planned.path(node)), seconds)
    states = [s for s in status.look(planned) if s.node.stage in ("pretrain", "embed")]
    total, unseen = status.seconds_left(states)
    assert total == 9 * 20.0
    assert unseen == ["embed"]


def test_progress_is_written_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    clock = iter([0.0, 1.0, 1.5, 4.0, 4.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    news = progress.Progress(tmp_path / "new", 14, 10)
    seen = []
    for loss in (1.0, 2.0, 3.0, 4.0):
        news.step(loss=loss)
        seen.append(progress.read(tmp_path / "new")["step"])
    assert seen == [11, 11, 13, 14]
    last = progress.read(tmp_path / "new")
    assert (last["loss"], last["steps"]) == (4.0, 14)
    assert last["steps_per_second"] == pytest.approx(4 / 4.5)


def test_a_disk_that_refuses_costs_the_news_only(tmp_path):
    (tmp_path / "file").touch()
    news = progress.Progress(tmp_path / "file" / "below", 2)
    news.step()
    news.step()
    assert progress.read(tmp_path / "file" / "below") == {}


@pytest.mark.parametrize("every", ["0", "-1", "nan"])
def test_seconds_are_above_zero(planned, capsys, every):
    assert cli.main(["status", "--watch", every]) == cli.EXIT_USER
    assert "must be seconds above 0" in capsys.readouterr().err


def watched(study: Study, node: str) -> str:
    """The line of an instance that is not done, as a user sees it; empty where there is none."""
    lines = study.run("videossl", "status").stdout.splitlines()
    return next((line for line in lines if line.startswith(f"{node} ")), "")


@pytest.mark.slow
def test_status_beside_a_study_that_runs_is_killed_fails_and_ends(study):
    study.shrink(["rspnet"])
    study.overlay("finetune: {synthetic: null}\nprobe: {synthetic: null}\n")
    study.overlay("pretrain: {short: {epochs: 200}}\n")
    with subprocess.Popen(
        ["snakemake", "--cores", "2"], cwd=study.root, env=study.env, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    ) as engine:  # fmt: skip
        deadline = time.monotonic() + 300
        row = ""
        running = re.compile(r" \d+/1200 +\d\.\d{3} +\d+\.\d +\d+% +\d+ (s|min) .* (\d+) *$")
        while not running.search(row) and time.monotonic() < deadline:
            row = watched(study, "pretrain/rspnet/seed-0")
        found = running.search(row)
        assert found is not None, row
        engine.kill()
        os.kill(int(found[2]), signal.SIGKILL)
    while "\nRUNNING " in (said := study.run("videossl", "status").stdout):
        assert time.monotonic() < deadline
    assert re.search(r"^STOPPED .*\npretrain/rspnet/seed-0 .* \d+/1200 ", said, re.MULTILINE)

    study.overlay("pretrain: {short: {epochs: 2}}\noptimizer: {adamw: {lr: 1.0e+30}}\n")
    study.run("snakemake", "--cores", "2", check=False)
    row = watched(study, "pretrain/rspnet/seed-0")
    assert "is not finite" in row or "the loss is" in row, row
    assert "logs/pretrain/rspnet/seed-0/" in row

    study.overlay("optimizer: {adamw: {lr: 1.0e-3}}\n")
    study.run("snakemake", "--cores", "2")
    shown = study.run("videossl", "status", "--watch").stdout
    total = len(study.run("videossl", "check").stdout.splitlines())
    assert shown.splitlines()[0] == f"{total} done"
