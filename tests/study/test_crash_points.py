"""A sample of ``benchmarks/crash_points.py``: calls to the disk that fail, and kills at them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.study import ROOT

SCRIPT = ROOT / "benchmarks" / "crash_points.py"
sys.path.insert(0, str(SCRIPT.parent))
import pages  # noqa: E402
import traced_run  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(traced_run.strace() is None, reason=traced_run.ABSENT)
def test_a_stage_that_is_struck_anywhere_is_made_whole_again(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    # few points: the study alone takes half a minute
    command = [sys.executable, str(SCRIPT), "select", "initialize", "--every", "5", "--jobs", "1"]
    done = subprocess.run(
        [*command, "--json", str(results)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = {result["stage"]: result for result in json.loads(results.read_text())}
    assert set(found) == {"select", "initialize"}
    assert all(result["points"] > 4 for result in found.values())


def test_calls_are_read_from_what_strace_writes(tmp_path: Path) -> None:
    lines = [
        '7 mkdir("out/.x.7.part", 0777) = 0',
        '7 openat(AT_FDCWD</w>, "in.txt", O_RDONLY|O_CLOEXEC) = 3</w/in.txt>',
        f'7 openat(AT_FDCWD<{tmp_path}>, "out/a", O_WRONLY|O_CREAT, 0666) = 3<{tmp_path}/out/a>',
        f'7 write(3<{tmp_path}/out/a>, ""..., 5) = 5',
        f'7 write(3<{tmp_path}/out/a>, ""..., 5) = 5',
        f"8 fsync(3<{tmp_path}/out/a>) = 0",
        '7 write(1<pipe:[5]>, ""..., 5) = 5',
        f'7 unlinkat(5<{tmp_path}/out>, "a", 0) = 0',
        f'7 openat(AT_FDCWD</w>, "{tmp_path}/tmp/k_3x9abz", O_RDWR|O_CREAT|O_EXCL, 0600) = 3<x>',
    ]
    ended = traced_run.Ended(0, "", lines, 7, False)
    a = f"{tmp_path}/out/a"
    assert traced_run.calls(ended, tmp_path) == [
        traced_run.Call("mkdir", "out/.x.{pid}.part", 1),
        traced_run.Call("openat", "out/a", 1),
        traced_run.Call("write", a, 1),
        traced_run.Call("write", a, 2),
        traced_run.Call("fsync", a, 1),
        traced_run.Call("unlinkat", "a", 1),
        # the name is another in the next run: the number is of all that this thread opened
        traced_run.Call("openat", f"{tmp_path}/tmp/k_3x9abz", 3),
    ]


@pytest.mark.parametrize("name", list(pages.SHOWN))
def test_pages_show_the_figures_of_the_last_run(name: str) -> None:
    page = (pages.ROOT / name).read_text("utf-8")
    assert page == pages.rendered(name, page), "run python benchmarks/pages.py"


@pytest.mark.parametrize("name", ["crash_points", "kills"])
def test_the_last_run_had_no_failure(name: str) -> None:
    found = json.loads((pages.HERE / "results" / f"{name}.json").read_text("utf-8"))
    assert not [one for one in (found if isinstance(found, list) else [found]) if one["failures"]]
