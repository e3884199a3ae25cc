"""What part of a run is the engine's, on made-up times; and how faults' times are shown."""

from __future__ import annotations

import subprocess

import pytest

from support.benchmarks import load

share, faults = load("slurm_share"), load("slurm_faults")


def test_time_that_several_cover_counts_once():
    assert share.covered([(0, 10), (2, 3), (8, 12), (20, 21)]) == 13
    assert share.covered([]) == 0


def test_shares_of_a_run():
    jobs, stages = [(10, 20), (15, 35), (50, 70)], [(14, 18), (18, 33), (60, 68)]
    found = share.shares(100, 5, jobs, stages)
    assert found["jobs"] == 3
    assert found["alone"] == pytest.approx(1 - 45 / 100)
    assert found["engine"] == pytest.approx(1 - (19 + 8) / 100)
    assert found["inside_jobs"] == pytest.approx(1 - (4 + 15 + 8) / 50)
    beside = (50 - 27) / 3
    assert found["inside_long_jobs"] == pytest.approx(beside / (beside + 600), abs=1e-5)
    assert found["command_cpu"] == 0.05
    assert share.table(found).splitlines()[2].startswith("| 3 | 100 s | 9.0 s | 16.7 s | 55% |")


def test_stages_note_when_they_ran_in_a_job(tmp_path, monkeypatch):
    monkeypatch.setattr(share.shutil, "which", lambda name: "/bin/false")
    file = tmp_path / "spans"
    environment = share.noting(tmp_path / "bin", file)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    environment.pop("SLURM_JOB_ID", None)
    for more, count in (({}, 0), ({"SLURM_JOB_ID": "7"}, 1)):
        command = [str(tmp_path / "bin/videossl"), "embed"]
        done = subprocess.run(command, env={**environment, **more}, check=False)
        assert done.returncode == 1
        assert (len(share.spans(file)) if file.exists() else 0) == count
    ((begin, end),) = share.spans(file)
    assert end >= begin > 1e9


def test_of_the_queue_only_the_studys_jobs_that_ended_count(tmp_path, monkeypatch):
    begin, end = "2026-01-02T03:04:05", "2026-01-02T03:04:15"
    lines = [
        f"7|COMPLETED|{begin}|{end}|{tmp_path}",
        f"8|RUNNING|{begin}|N/A|{tmp_path}",
        f"9|COMPLETED|{begin}|{end}|/elsewhere",
    ]
    said = subprocess.CompletedProcess([], 0, "\n".join(lines), "")
    monkeypatch.setattr(share.subprocess, "run", lambda *words, **more: said)
    ((job, (first, last)),) = share.queue(tmp_path).items()
    assert (job, last - first) == ("7", 10)


def test_a_line_per_fault():
    where = "tests/workflow/test_slurm_faults.py::test_it[hangs]"
    lines = faults.table({"`scancel`: until it is said": {"seconds": 3.2, "test": where}})
    assert lines.splitlines()[2:] == ["| `scancel`: until it is said | 3 | `test_it` |"]
