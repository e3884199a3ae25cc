"""What sites' clusters have and the SLURM of one node has not: cgroups, and accounting."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import (
    DEADLINE,
    NEEDS_SLURM,
    limits,
    noting,
    place_of,
    removed,
    run,
    said,
    sha256,
    start,
    started_with,
    timed,
    until,
)
from support.study import ROOT, Study

pytestmark = NEEDS_SLURM
DATABASE, DAEMON = Path("/run/slurm/mariadbd.pid"), Path("/run/slurm/slurmdbd.pid")


@pytest.fixture
def cgroups(cluster: Study) -> Iterator[Study]:
    """The study, where the kernel holds jobs to their memory."""
    with started_with(CGROUPS="1"):
        yield cluster


@pytest.fixture(scope="module")
def accounting() -> Iterator[None]:
    """There is an account ``lab``, and ``sacct`` knows of jobs."""
    if shutil.which("slurmdbd") is None or shutil.which("mariadbd") is None:
        pytest.skip("no slurmdbd and mariadbd here (ACCOUNTING=1 workflow/cluster/up.sh)")
    with started_with(ACCOUNTING="1"):
        yield


def account(study: Study, name: str) -> None:
    """What a site says of its account: docs/cluster.md."""
    file = study.root / "profiles/default/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"default-resources:\n  slurm_account: {name}\n")


def accounted(study: Study) -> list[list[str]]:
    """Account and state of every job of the study that accounting knows."""
    listed = subprocess.run(
        ["sacct", "-nXP", "-o", "Account,State,WorkDir"], capture_output=True, text=True
    )
    lines = [line.split("|") for line in listed.stdout.splitlines()]
    return [[name, state] for name, state, folder in lines if Path(folder) == study.root]


def test_the_kernel_ends_a_job_that_takes_more_memory_and_it_gets_more(cgroups):
    place, expected = removed(cgroups, "embed/rspnet/synthetic/seed-0")
    cgroups.edit("MEMORY_MB = 8000", "MEMORY_MB = 1500", "workflow/rules/common.smk")
    noting(cgroups, "exec python -c 'x = bytes(range(256)) * (8 << 20); input()' < <(sleep 60)")
    done = run(cgroups, str(place))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in limits(cgroups)] == ["1500M", "3000M"]
    assert "it took more memory than it asked for" in done.stdout + done.stderr
    assert sha256(cgroups.root / place / "features.npy") == expected


def test_an_account_that_is_not_there_is_one_line(accounting, cluster):
    place, _ = removed(cluster, "embed/rspnet/synthetic/seed-0")
    account(cluster, "other")
    done = run(cluster, str(place))
    assert done.returncode == 1
    line = "embed rspnet synthetic 0: it is not submitted: The given account other appears to be "
    words = (done.stdout + done.stderr).partition(f"{line}invalid. Available accounts: ")[2]
    assert words.split(".")[0] in ("lab, root", "root, lab")  # on the same line, in any order


class Database:
    """Accounting's database is stopped, and started again."""

    name = "the database of accounting is gone"

    def strike(self) -> None:
        os.kill(int(DATABASE.read_text()), signal.SIGTERM)
        until(lambda: not DATABASE.exists(), "the database does not end")

    def mend(self) -> None:
        if not DATABASE.exists():
            script = ROOT / "workflow/cluster/accounting.sh"
            subprocess.run([script, "database"], check=True, capture_output=True)


class Daemon:
    """Accounting takes calls, and does not answer them."""

    name = "`slurmdbd` hangs"

    def strike(self) -> None:
        self._signal(signal.SIGSTOP)

    def mend(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        os.kill(int(DAEMON.read_text()), number)


@pytest.fixture(params=[Database, Daemon], ids=["gone", "hangs"])
def outage(accounting: None, request: pytest.FixtureRequest) -> Iterator[Database | Daemon]:
    """What happens to accounting; it is mended at the latest when the test ends."""
    one = request.param()
    yield one
    one.mend()


def test_jobs_count_for_the_sites_account_also_if_accounting_is_away_meanwhile(outage, cluster):
    """It goes while a job runs, and the next is submitted without it."""
    embedded, _ = removed(cluster, "embed/rspnet/synthetic/seed-0")
    place = Path("runs", place_of(cluster, "evaluate/rspnet/synthetic/knn/seed-0/split-1"))
    expected = (cluster.root / place / "metrics.json").read_bytes()
    shutil.rmtree(cluster.root / place)
    account(cluster, "lab")
    noting(cluster, 'while [ ! -e go ]; do sleep 0.2; done; exec "$real" "$@"')
    running = start(cluster, place)
    until(lambda: limits(cluster), "nothing was started")
    outage.strike()
    (cluster.root / "go").touch()
    until((cluster.root / embedded).exists, "the job does not go on")
    with timed(f"{outage.name}: from the end of a job until the next runs"):
        until(lambda: len(limits(cluster)) == 2, "the next was not started")
    if isinstance(outage, Database):
        assert accounted(cluster) == []  # sacct does not answer
    outage.mend()
    assert running.wait(DEADLINE) == 0
    assert "Error in rule" not in said(cluster)
    assert (cluster.root / place / "metrics.json").read_bytes() == expected
    both = [["lab", "COMPLETED"]] * 2
    until(lambda: accounted(cluster) == both, "accounting was not told what it missed")
