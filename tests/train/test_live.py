"""Curves in DVCLive, under a `dvc exp run` that is under way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.study import ROOT
from videossl.job import Job, UserError
from videossl.train import curve, live

pytest.importorskip("dvclive", reason="DVCLive is absent")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = [
    {"step": 10, "epoch": 1, "loss": 0.5, "lr": 3e-8},
    {"step": 20, "epoch": 2, "loss": 0.25, "lr": 0.0, "neighbour_accuracy": 0.75},
]
PIPELINE = """
stages:
  pretrain:
    cmd: python train.py
    params: [margin]
    outs: [results]
"""
# A training of two epochs, which asks DVC after each what it shows.
TRAINING = f"""
import subprocess, sys
from pathlib import Path
from videossl.job import Job
from videossl.train import curve
here = Path(".")
key = {{"row": "rspnet", "seed": "0"}}
board = curve.Board(Job("pretrain", key, {{}}, here, here, 1, {{}}), [])
Path("results").mkdir()
for row in {ROWS}:
    board.add(row)
    shown = subprocess.run(["dvc", "exp", "show", "--json"], check=True, capture_output=True)
    Path("results", f"shown-{{row['epoch']}}.json").write_bytes(shown.stdout)
board.close()
"""


def job(folder: Path) -> Job:
    return Job("pretrain", {"row": "rspnet", "seed": "0"}, {}, folder, folder, 1, {})


def history(folder: Path, name: str) -> list[list[str]]:
    path = folder / f"pretrain/rspnet/seed-0/plots/metrics/{name}.tsv"
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_a_run_that_goes_on_holds_what_its_checkpoint_had(tmp_path, monkeypatch):
    monkeypatch.setenv(live.FOLDER, str(tmp_path))
    monkeypatch.chdir(tmp_path)  # no repository, which DVC's library would leave open
    first = curve.Board(job(tmp_path), [])
    for row in [*ROWS, ROWS[1] | {"epoch": 3, "loss": 9.0}]:
        first.add(row)
    first.close()  # killed before the checkpoint of the third epoch
    second = curve.Board(job(tmp_path), ROWS)
    assert history(tmp_path, "loss") == [["step", "loss"], ["1", "0.5"], ["2", "0.25"]]
    second.add(ROWS[1] | {"epoch": 3, "loss": 0.125})
    assert history(tmp_path, "loss")[-1] == ["3", "0.125"]
    assert history(tmp_path, "neighbour_accuracy")[1] == ["2", "0.75"]


@pytest.mark.slow
def test_dvc_shows_the_numbers_while_the_training_runs(tmp_path, monkeypatch):
    monkeypatch.setenv(live.FOLDER, "live")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    run("git", "config", "user.email", "a@b.c")
    run("git", "config", "user.name", "a")
    run("dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("margin: 1\n")
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / ".gitignore").write_text("/results\n")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "A study")

    found = "live/pretrain/rspnet/seed-0/metrics.json"
    for name, margin in (("narrow", "2"), ("wide", "3")):  # the second finds the first's folder
        run("dvc", "exp", "run", "--name", name, "-S", f"margin={margin}")
        for row in ROWS:
            shown = json.loads((tmp_path / f"results/shown-{row['epoch']}.json").read_text())
            (workspace,) = [one for one in shown if one["rev"] == "workspace"]
            metrics = workspace["data"]["metrics"][found]["data"]
            assert metrics == {k: v for k, v in row.items() if k != "epoch"} | {
                "step": row["epoch"]
            }
    assert (tmp_path / "dvc.yaml").read_text() == PIPELINE
    changed = run("git", "status", "--porcelain").splitlines()
    assert changed == [" M params.yaml", "?? dvc.lock", "?? live/"]
    saved = run("dvc", "exp", "list", "--name-only").split()
    assert set(saved) >= {"narrow", "wide"}


def test_without_the_package_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "dvclive.live", None)
    curve.Board(job(tmp_path), []).add(ROWS[0])  # nobody asked
    monkeypatch.setenv(live.FOLDER, "live")
    with pytest.raises(UserError, match="DVCLive is not installed; pip install dvclive"):
        curve.Board(job(tmp_path), [])
