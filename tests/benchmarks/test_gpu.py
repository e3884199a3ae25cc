"""What is to be run on the first GPU runs here, tiny, and its figures become tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from support.benchmarks import load
from support.study import ROOT
from videossl.study.registry import METHODS

LINES = [
    {"part": "what", "name": "machine", "python": "3", "torch": "2", "cores": 16, "gpu": "G",
     "gib": 80.0, "cuda": "13.0"},
    {"part": "tests", "name": "pytest", "status": 1, "passed": 3, "failed": 1, "which": ["a::b"]},
    {"part": "device", "name": "matmul bfloat16", "tflops": 700.0},
    {"part": "device", "name": "conv3d", "ms": 1.5, "error_output": 1e-3,
     "error_input_gradient": 2e-3, "error_weight_gradient": 3e-3},
    {"part": "floor", "name": "R", "compiled": True, "clips_per_second": 1000.0},
    {"part": "training", "name": "rspnet R", "compiled": True, "readers": 8,
     "clips_per_second": 500.0, "videos_per_second": 100.0, "waiting_share": 0.25,
     "peak_mib": 1.0, "kinetics400_hours": 42.0},
    {"part": "methods", "name": "hdc", "shape": "R", "batch": 4, "failed": "out of memory"},
    {"part": "methods", "name": "sts", "shape": "R", "batch": 4, "clips_per_second": 9.0,
     "peak_mib": 7.0, "augmentation_share": 0.1, "host_waits": "a copy"},
    {"part": "floor", "name": "failed", "reason": "cut after 3 s"},
]  # fmt: skip


def test_tables_show_the_share_of_the_floor_and_what_failed():
    text = load("render").render(LINES)
    assert "| rspnet R, compiled | 8 | 500 | 50% | 25% | 42 |" in text
    assert "| hdc | R | 4 | out of memory |  |  |  |" in text
    assert "| sts | R | 4 | 9 | 7 | 10% | yes |" in text
    assert "3 passed, 1 failed" in text
    assert "Failed: a::b" in text
    assert text.endswith("Not measured: floor (cut after 3 s).\n")


def test_a_line_that_was_cut_is_left_out(tmp_path):
    file = tmp_path / "gpu.jsonl"
    file.write_text('{"part": "what"}\n{"part": "tes')
    assert load("render").read(file) == [{"part": "what"}]


@pytest.mark.slow
def test_all_parts_run_without_a_gpu_and_without_git(tmp_path):
    copy = tmp_path / "copy"
    for name in ("src", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    out = tmp_path / "gpu.jsonl"
    done = subprocess.run(
        [copy / "benchmarks/gpu.sh", "--device", "cpu", "--quick", "--out", out],
        capture_output=True, text=True, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[-1]["part"] == "end"
    assert not lines[-1]["failed"]
    measured = {line["name"] for line in lines if line["part"] == "methods"}
    assert measured == set(METHODS)
    assert load("render").render(lines).count("\n| ") > len(METHODS)
