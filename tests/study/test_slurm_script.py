"""A job of a SLURM runs its stage's command, once the inputs are there; else a Snakemake."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_executor_plugin_slurm import Executor

from videossl.study import slurm_executor, slurm_script

ODD = 'a folder\'s $(touch no) `touch no` "name" \\ ;é'


def ran(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True)


def test_the_command_runs_with_a_folder_for_its_log_and_its_exit_status(tmp_path):
    line = slurm_script.script("(echo said; exit 7) > logs/a/log", [], ["logs/a/log"], 60)
    assert line is not None
    assert ran(line, tmp_path).returncode == 7
    assert (tmp_path / "logs/a/log").read_text() == "said\n"


def test_a_part_of_a_pipe_that_fails_is_a_failure(tmp_path):
    line = slurm_script.script("false | true", [], [], 60)
    assert line is not None
    assert ran(line, tmp_path).returncode == 1


def test_it_waits_for_an_input_that_another_node_made(tmp_path):
    def appear() -> None:
        time.sleep(1.5)
        (tmp_path / ODD).touch()

    other = threading.Thread(target=appear)
    other.start()
    line = slurm_script.script("ls > found", [ODD], [], 60)
    assert line is not None
    assert ran(line, tmp_path).returncode == 0
    other.join()
    assert (tmp_path / "found").read_text().splitlines() == [ODD, "found"]


def test_what_does_not_come_is_left_to_the_stage(tmp_path):
    line = slurm_script.script("touch started", ["a", "b"], [], 1)
    assert line is not None
    assert ran(line, tmp_path).returncode == 0
    assert (tmp_path / "started").exists()


def test_the_plugins_call_hands_on_every_character(tmp_path):
    """It puts the line in double quotes, where it escapes those alone."""
    line = slurm_script.script(f"printf '%s' '{ODD.replace(chr(39), '')}'", [ODD], [], 0)
    assert line is not None
    within = slurm_script.within_double_quotes(line).replace('"', '\\"')
    done = ran(f'sh -c "{within}"', tmp_path)
    assert done.stdout == ODD.replace("'", "")
    assert not (tmp_path / "no").exists()


def test_more_than_a_command_line_holds_is_none():
    inputs = [
        f"runs/evaluate/row/test/knn/seed-{seed}/split-1/0123456789ab" for seed in range(2000)
    ]
    assert slurm_script.script("true", inputs, [], 60) is None
    assert slurm_script.script("true", inputs[:200], [], 60) is not None


def line_of(monkeypatch, job: dict[str, Any], **workflow: Any) -> str:
    """What the executor gives a job to run; "snakemake" where the plugin decides."""
    one = slurm_executor.WatchingExecutor.__new__(slurm_executor.WatchingExecutor)
    one.array_jobs = workflow.get("arrays", set())
    one.workflow = SimpleNamespace(
        execution_settings=SimpleNamespace(latency_wait=60),
        executor_settings=SimpleNamespace(pass_command_as_script=workflow.get("stdin", False)),
        deployment_settings=SimpleNamespace(deployment_method=workflow.get("deployed", set())),
    )
    monkeypatch.setattr(Executor, "format_job_exec", lambda self, job: "snakemake")
    plain = {
        "is_group": lambda: False,
        "is_shell": True,
        "is_shadow": False,
        "benchmark": None,
        "shellcmd": "videossl embed rspnet",
        "get_wait_for_files": list,
        "log": [],
        "output": ["absent"],
        "resources": {},
    }
    return one.format_job_exec(SimpleNamespace(**(plain | job)))


def test_a_job_runs_its_command_and_no_snakemake(monkeypatch):
    assert line_of(monkeypatch, {}).startswith("exec bash -c 'set -euo pipefail; videossl embed")
    cost = {"shellcmd": "echo $cost"}
    assert "echo \\$cost" in line_of(monkeypatch, cost)
    assert "echo $cost" in line_of(monkeypatch, cost, stdin=True)


@pytest.mark.parametrize(
    ("job", "workflow"),
    [
        ({"is_group": lambda: True}, {}),
        ({"is_shell": False}, {}),
        ({"is_shadow": True}, {}),
        ({"benchmark": "file"}, {}),
        ({"resources": {"mpi": "srun"}}, {}),
        ({"shellcmd": "x" * slurm_script.LONGEST}, {}),
        ({}, {"arrays": {"embed"}}),
        ({}, {"deployed": {"apptainer"}}),
        ({"output": ["absent", __file__]}, {}),  # forced: it would count as done if it failed
    ],
)
def test_where_more_is_to_be_done_a_snakemake_does_it(monkeypatch, job, workflow):
    assert line_of(monkeypatch, job, **workflow) == "snakemake"
