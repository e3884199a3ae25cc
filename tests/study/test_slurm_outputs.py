"""A job that SLURM calls failed is done only where every one of its outputs is there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from videossl.study import slurm_executor
from videossl.study.slurm_run import End, Outcome


@pytest.mark.parametrize(
    ("outputs", "end"),
    [(["there"], "success"), (["there", "absent"], "error"), (["absent"], "error"), ([], "error")],
)
def test_a_failed_job_is_done_if_it_has_outputs_and_all_are_there(
    tmp_path: Path, outputs: list[str], end: str
) -> None:
    (tmp_path / "there").touch()
    paths = [tmp_path / name for name in outputs]
    job = SimpleNamespace(name="embed", wildcards={}, log=[], output=paths)
    info = SimpleNamespace(external_jobid="7", job=job, aux={})
    said: list[str] = []
    executor = object.__new__(slurm_executor.WatchingExecutor)
    executor.logger = SimpleNamespace(warning=lambda line: None)
    executor.report_job_success = lambda info: said.append("success")
    executor.report_job_error = lambda info, **rest: said.append("error")
    executor._report(info, End(Outcome.FAILED, "it took more time than it asked for"))
    assert said == [end]
