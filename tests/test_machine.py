"""Which GPUs a process may use, from what the driver lists and the scheduler leaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from videossl import machine

LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa000000-0000)
  MIG 1g.5gb      Device  0: (UUID: MIG-11110000-0000)
  MIG 2g.10gb     Device  1: (UUID: MIG-22220000-0000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-ab000000-0000)
"""
MIG = ["MIG-11110000-0000", "MIG-22220000-0000"]
WHOLE = "GPU-ab000000-0000"
OLD_MIG = "MIG-GPU-ab000000-0000/1/0"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Put a program in the place of nvidia-smi."""

    def put(script: str) -> None:
        file = tmp_path / "nvidia-smi"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        machine._listed.cache_clear()

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(machine.PRETENDED, raising=False)
    monkeypatch.delenv(machine.VISIBLE, raising=False)
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "gpus")
    machine._listed.cache_clear()
    yield put
    machine._listed.cache_clear()


def test_nvidia_smi_is_asked(smi):
    smi(f'[ "$*" = -L ] || exit 1\ncat <<END\n{LISTING}END')
    assert machine.visible() == ([*MIG, WHOLE], None)
    assert machine.gpus() == 3


@pytest.mark.parametrize(
    ("value", "found", "stray"),
    [
        ("", [], None),
        ("-1", [], None),
        ("NoDevFiles", [], None),
        ("1", [WHOLE], None),
        ("1,0", [WHOLE, *MIG], None),
        (" 1 , 1", [WHOLE], None),
        ("1,-1,0", [WHOLE], None),
        ("1,2,0", [WHOLE], "2"),
        (WHOLE, [WHOLE], None),
        ("GPU-ab", [WHOLE], None),
        ("GPU-a", [], "GPU-a"),  # the beginning of two
        ("GPU-aa", MIG, None),
        (f"{MIG[1]},GPU-ab", [MIG[1], WHOLE], None),
        ("MIG-2222", [MIG[1]], None),
        (OLD_MIG, [OLD_MIG], None),
        ("first", [], "first"),
    ],
)
def test_what_the_scheduler_leaves(smi, monkeypatch, value, found, stray):
    smi(f"cat <<END\n{LISTING}END")
    monkeypatch.setenv(machine.VISIBLE, value)
    assert machine.visible() == (found, stray)


def test_a_whole_id_is_not_taken_for_the_beginning_of_another(monkeypatch):
    monkeypatch.setenv(machine.PRETENDED, "GPU-1, GPU-10")
    monkeypatch.setenv(machine.VISIBLE, "GPU-1")
    assert machine.visible() == (["GPU-1"], None)


def test_a_listing_that_fails_lists_none(smi, tmp_path):
    smi("echo No devices were found; exit 6")
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)  # the machine's, and not this job's
    (tmp_path / "gpus/0000:01:00.0/information").write_text("GPU UUID: GPU-1234\n")
    assert machine.visible() == ([], None)


def test_without_nvidia_smi_the_drivers_folder_is_read(smi, tmp_path):
    for place, uuid in {"41": "GPU-????????-????", "01": "GPU-12ab-34"}.items():
        folder = tmp_path / f"gpus/0000:{place}:00.0"
        folder.mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H100\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n"
        (folder / "information").write_text(text)
    assert machine.visible() == (["GPU-12ab-34", "1"], None)


def test_no_driver_no_gpus(smi):
    assert machine.visible() == ([], None)
    assert machine.training_threads(2) == 2


def test_threads_are_shared_among_visible_gpus(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    monkeypatch.setenv(machine.PRETENDED, "GPU-a,GPU-b,GPU-c,GPU-d")
    monkeypatch.delenv(machine.VISIBLE, raising=False)
    assert machine.training_threads(1) == 4
    monkeypatch.setenv(machine.VISIBLE, "2")
    assert machine.training_threads(1) == 16


POOLS = """
from videossl import machine
machine.compute_in_one_thread()
import torch
print(torch.get_num_threads())
print(torch.__config__.parallel_info())
"""


def test_one_thread_computes_whatever_a_scheduler_set():
    """Snakemake sets MKL's number to a job's threads, which goes before OpenMP's."""
    given = dict.fromkeys([*machine.POOLS, "MKL_DOMAIN_NUM_THREADS"], "8")
    done = subprocess.run(
        [sys.executable, "-c", POOLS], capture_output=True, text=True, check=True,
        env={**os.environ, **given, "MKL_DYNAMIC": "FALSE"},
    )  # fmt: skip
    said = done.stdout
    assert said.startswith("1\n")
    maxima = re.findall(r"(?:omp|mkl)_get_max_threads\(\) : (\d+)", said)
    assert maxima
    assert set(maxima) == {"1"}


def test_code_in_a_folder_with_a_colon_is_found(tmp_path, monkeypatch):
    """As a checkout of 12:30 has; a colon separates folders in PYTHONPATH."""
    study = tmp_path / "run_12:30"
    package = study / "src" / "videossl_here"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.chdir(study)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    machine.run_jobs_with(str(study / "src"))
    code = "import videossl_here; print(videossl_here.__file__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).parent == package
    assert os.environ["PYTHONPATH"].split(os.pathsep)[1:] == [str(tmp_path / "other")]


def test_what_another_launcher_left_behind_counts_for_nothing(monkeypatch):
    """Shells and container images keep these; only torchrun's own variable says it runs us."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "")):
        monkeypatch.setenv(name, value)
    assert (machine.rank(), machine.ranks(), machine.ranks_here()) == (0, 1, 1)
    assert not machine.launched()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert machine.launched()
    assert (machine.rank(), machine.ranks(), machine.ranks_here()) == (1, 2, 2)
