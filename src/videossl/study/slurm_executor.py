"""Snakemake's executor for SLURM, with another watch over its jobs, which start the stages at once.

See ``slurm_run`` and ``slurm_script``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from videossl.study import slurm_run, slurm_script
from videossl.study.slurm_run import Outcome

LONGEST = 6  # times the first pause between two looks: the profile's 10 s become 60 s


def install() -> None:
    """Have Snakemake start this executor where ``executor: slurm`` is asked for."""
    registry = ExecutorPluginRegistry()
    registry.get_plugin("slurm").executor = WatchingExecutor


class WatchingExecutor(Executor):  # type: ignore[misc]  # the plugin has no types
    """The plugin's executor; only what it does while it waits is another."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        self.watch = slurm_run.Watch()  # before the plugin starts its thread
        self.refusals: Counter[int] = Counter()
        self.preemptions: Counter[int] = Counter()
        self.accounts: dict[str, list[str]] = {}
        super().__init__(workflow, logger)

    def format_job_exec(self, job: Any) -> str:
        """The line that a job runs: its rule's command, if that is all there is to it."""
        line = None
        if self._only_runs_its_command(job):
            line = slurm_script.script(
                job.shellcmd,
                job.get_wait_for_files(),
                job.log,
                self.workflow.execution_settings.latency_wait,
            )
        if line is None:  # a Snakemake in the job does the rest
            return str(super().format_job_exec(job))
        if self.workflow.executor_settings.pass_command_as_script:
            return line
        return slurm_script.within_double_quotes(line)

    def _only_runs_its_command(self, job: Any) -> bool:
        """Not in a container, on several nodes, for an array or group of jobs, or forced."""
        return not (
            job.is_group()
            or not job.is_shell
            or job.benchmark
            or job.is_shadow
            or self.array_jobs
            or job.resources.get("mpi")
            or self.workflow.deployment_settings.deployment_method
            or any(Path(out).exists() for out in job.output)  # a failed job made nothing then
        )

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """What sbatch is told of the account; accounting is asked once per account, not per job."""
        account = str(job.resources.get("slurm_account") or "")
        if account not in self.accounts:
            self.accounts[account] = list(super().get_account_arg(job))
        yield from self.accounts[account]

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncIterator[SubmittedJobInfo]:
        """Report the jobs that ended and yield the others: every one is one or the other."""
        if not active_jobs:
            self.next_seconds_between_status_checks = self._soon()
            return
        states = await asyncio.to_thread(slurm_run.asked, self.run_uuid)
        self._say_whether_it_answers(states is not None)
        ends = {}
        if states is not None:
            ends = self.watch.ended([one.external_jobid for one in active_jobs], states)
            for one in self.watch.stuck(states):
                self.logger.warning(
                    f"{one.what}: SLURM job {one.job} may wait for ever: {one.reason}: {one.advice}"
                )
        first = self._soon()
        later = min(self.next_seconds_between_status_checks + first, LONGEST * first)
        soon = ends or states is None or self.watch.unsure
        self.next_seconds_between_status_checks = self._soon() if soon else later
        for info in active_jobs:
            end = ends.get(info.external_jobid)
            if end is None:
                yield info
            else:
                self._report(info, end)

    def _soon(self) -> int:
        return int(self.workflow.executor_settings.init_seconds_before_status_checks)

    def _say_whether_it_answers(self, answers: bool) -> None:
        if not answers and not self.watch.silent:
            self.logger.warning("SLURM does not answer: its jobs go on, and it is asked again")
        if answers and self.watch.silent:
            self.logger.warning("SLURM answers again")
        self.watch.silent = not answers

    def _report(self, info: SubmittedJobInfo, end: slurm_run.End) -> None:
        log = info.aux.get("slurm_logfile")
        who = f"{name_of(info.job)}: SLURM job {info.external_jobid}"
        # outputs are whole or absent, and a job may be ended after it made one
        outputs = [*map(Path, info.job.output)]
        made = bool(outputs) and all(out.exists() for out in outputs)
        if made and end.outcome in (Outcome.FAILED, Outcome.PREEMPTED):
            self.logger.warning(f"{who}: {end.why}, but its output is there: it counts as done")
        elif end.outcome is Outcome.PREEMPTED and self._may_be_preempted(info.job):
            self.logger.warning(f"{who}: {end.why}; submitted again")
            # beside the other submissions: this thread asks for all jobs
            self._job_submission_executor.submit(self.run_job, info.job)
            return
        elif end.outcome in (Outcome.FAILED, Outcome.PREEMPTED):
            why = (slurm_run.why_failed(log) if log else "") or end.why
            logs = ", ".join(map(str, info.job.log)) or log
            line = f"{who}: {why}; its log: {logs}. "
            self.report_job_error(info, msg=line, aux_logs=[str(log)] if log else [])
            return
        elif end.outcome is Outcome.FORGOTTEN:
            self.logger.warning(
                f"{who}: SLURM knows it no more: it counts as done if its output is there"
            )
        elif log is not None and not self.workflow.executor_settings.keep_successful_logs:
            log.unlink(missing_ok=True)
        self.report_job_success(info)

    def _may_be_preempted(self, job: Any) -> bool:
        """Whether a job that was preempted is submitted again without using an attempt."""
        self.preemptions[job.jobid] += 1
        most = job.resources.get("preemptions", slurm_run.PREEMPTIONS)
        return self.preemptions[job.jobid] <= int(most)

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        """Submit a job again that was refused for something that passes.

        The plugin calls this, in a thread that submits, where sbatch failed.
        """
        job = job_info.job
        line = f"{name_of(job)}: {slurm_run.refusal(msg)}"
        tries = self.refusals[job.jobid]
        if not slurm_run.passing(msg) or tries == len(slurm_run.PAUSES):
            del self.refusals[job.jobid]
            self.logger.debug(msg)  # with the whole call
            super()._report_job_error_threadsafe(job_info, f"{line}. ")
            return
        self.refusals[job.jobid] += 1
        pause = slurm_run.PAUSES[tries]
        self.logger.warning(f"{line}; submitted again in {pause} s")
        until = time.monotonic() + pause
        while self.wait and time.monotonic() < until:  # not once Snakemake ends
            time.sleep(0.2)
        if self.wait:
            self.run_job(job)


def name_of(job: Any) -> str:
    """Rule and wildcards of a job; the log has its fingerprint."""
    wildcards = getattr(job, "wildcards", None) or {}  # a group of jobs has none
    values = [value for name, value in wildcards.items() if name != "fp"]
    return " ".join([job.name, *values])
