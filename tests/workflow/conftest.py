"""The tiny study on a cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cluster import ended, jobs, pretraining, sha256, submitted
from support.study import Study

LONG = "pretrain:\n  short:\n    epochs: 40\n"


@pytest.fixture
def cluster(tiny: Study) -> Iterator[Study]:
    """The tiny study, made on this machine; jobs that a test leaves are cancelled."""
    yield tiny
    ended()
    for job in jobs(tiny, "R", "PD"):
        subprocess.run(["scancel", job], check=False)


@pytest.fixture(scope="session")
def long_weights() -> dict[str, str]:
    """Digests of weights that were made on this machine, so that one test makes them."""
    return {}


@pytest.fixture
def longer(cluster: Study, long_weights: dict[str, str]) -> tuple[Study, Path, str]:
    """A pretraining of many steps: the study, its place, and its weights as made here."""
    cluster.env["VIDEOSSL_CHECKPOINT_SECONDS"] = "1"
    cluster.overlay(LONG)
    place = pretraining(cluster)
    if str(place) not in long_weights:
        out = cluster.root / "runs" / place
        cluster.run("snakemake", "--cores", "2", str(out.relative_to(cluster.root)))
        long_weights[str(place)] = sha256(out / "encoder.safetensors")
        shutil.rmtree(out)
    return cluster, place, long_weights[str(place)]


@pytest.fixture
def urgent(cluster: Study) -> Iterator[Callable[[], str]]:
    """Submits a job that takes the whole node from others, and gives its number."""
    numbers: list[str] = []

    def submit() -> str:
        numbers.append(submitted("--partition=urgent", "--exclusive", "--mem=0"))
        return numbers[-1]

    yield submit
    for job in numbers:
        subprocess.run(["scancel", job], check=False)
