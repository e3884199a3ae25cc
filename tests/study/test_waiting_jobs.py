"""Jobs that wait in the queue, some of them for ever, from what squeue says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from videossl import cli
from videossl.study import waiting_jobs

LINES = (
    "11|/other|PartitionTimeLimit|rule_pretrain_wildcards_rspnet_0_abc\n"
    "12|HERE|Priority|rule_pretrain_wildcards_vtdl_0_abc\n"
    "13|HERE|Resources|rule_embed\n"
    "14|HERE|(ReqNodeNotAvail, UnavailableNodes:node[1|2])|rule_embed_wildcards_a_b\n"
    "15|HERE|BadConstraints|\n"
    "16|HERE|JobHeldUser|somebody's own\n"
)


def squeue(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program of that name first on the path."""
    program = folder / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_only_what_is_ours_and_what_to_do_where_it_may_never_come():
    found = waiting_jobs.parsed(LINES)
    assert [(one.job, one.what, bool(one.advice)) for one in found] == [
        ("11", "pretrain rspnet_0_abc", True),
        ("12", "pretrain vtdl_0_abc", False),
        ("13", "embed", False),
        ("14", "embed a_b", True),
    ]
    assert found[0].advice == "it asks for more time than the partition gives: lower `runtime`"
    assert found[0].folder == "/other"
    assert found[3].reason == "(ReqNodeNotAvail, UnavailableNodes:node[1|2])"


def test_status_says_it(planned, tmp_path, monkeypatch, capsys):
    lines = LINES.replace("'", "'\\''").replace("HERE", str(Path.cwd()))
    script = f"[ \"$1 $2\" = '--me --states=PENDING' ] && printf '%s' '{lines}'"
    squeue(tmp_path, monkeypatch, script)
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "; 3 in SLURM's queue\n" in said  # of this study
    assert "MAY WAIT FOR EVER" in said
    assert "Priority" not in said
    assert "PartitionTimeLimit" in said
    assert "lower `runtime`" in said


@pytest.mark.parametrize(
    "script", ["exit 1", "sleep 60", "echo 'slurm_load_jobs error' >&2; exit 1"]
)
def test_a_queue_that_does_not_answer_is_no_news(planned, tmp_path, monkeypatch, capsys, script):
    squeue(tmp_path, monkeypatch, script)
    monkeypatch.setattr(waiting_jobs, "SECONDS", 0.2)
    assert cli.main(["status"]) == 0
    assert "MAY WAIT" not in capsys.readouterr().out


def test_without_a_cluster_nothing_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert waiting_jobs.found() == []
