"""What becomes of a job, by what SLURM's queue says of it time after time."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm import Executor

from videossl.study import slurm_executor, slurm_run
from videossl.study.slurm_run import End, Outcome, State, Watch


def after(*answers: str | None) -> list[End | None]:
    """How job 7 ended, after each answer: its state, or None where it is not known."""
    watch = Watch()
    return [
        watch.ended(["7"], {} if state is None else {"7": State(state)}).get("7")
        for state in answers
    ]


@pytest.mark.parametrize("state", sorted(slurm_run.FAILED))
def test_a_job_that_failed_is_told_at_once_and_why(state):
    running, end = after("RUNNING", state)
    assert running is None
    assert end.outcome is Outcome.FAILED
    assert end.why == slurm_run.FAILED[state]


def test_a_job_that_completed_is_done():
    assert after("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "COMPLETED") == [
        *[None] * 4,
        End(Outcome.DONE),
    ]


def test_a_job_is_forgotten_after_three_answers_without_it():
    assert after(None, None, None)[-1] == End(Outcome.FORGOTTEN)
    assert after(None, None, "RUNNING", None, None) == [None] * 5


@pytest.mark.parametrize(
    ("state", "outcome"), [("PREEMPTED", Outcome.PREEMPTED), ("NODE_FAIL", Outcome.FAILED)]
)
def test_a_preempted_job_may_be_queued_again_or_not(state, outcome):
    assert after(state, state, "PENDING", "RUNNING", state, state) == [None] * 6
    assert after(state, state, state)[-1].outcome is outcome


def test_the_queues_lines():
    text = "7|CANCELLED by 0|None|rule_embed\n8|PENDING|(Nodes a|b)|rule_test_wildcards_x\n"
    assert slurm_run.parsed(text) == {
        "7": State("CANCELLED", "None", "rule_embed"),
        "8": State("PENDING", "(Nodes a|b)", "rule_test_wildcards_x"),
    }


def test_a_job_that_may_wait_for_ever_is_named_once():
    watch = Watch()
    states = {"8": State("PENDING", "PartitionTimeLimit", "rule_test_wildcards_x")}
    assert [one.what for one in watch.stuck(states)] == ["test x"]
    assert watch.stuck(states) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("slurmstepd: error: Exceeded job memory limit\n", "memory"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch\n", "memory"),
        ("error: no such dataset\n", ""),
    ],
)
def test_a_log_tells_that_memory_ended_a_part(tmp_path, text, why):
    log = tmp_path / "5.log"
    assert slurm_run.why_failed(log) == ""
    log.write_text(text)
    assert bool(why) == bool(slurm_run.why_failed(log))
    assert why in slurm_run.why_failed(log)


def test_a_refusal_is_one_line():
    message = (
        "SLURM sbatch failed. The error message was 'sbatch: error: invalid partition specified: "
        "none\nsbatch: error: Batch job submission failed: Invalid partition name'.\n"
        "    sbatch call:\n        sbatch --parsable\n"
    )
    assert slurm_run.refusal(message) == "sbatch refuses it: invalid partition specified: none"
    alone = "SLURM sbatch failed. The error message was 'sbatch: error: no'.\n"
    assert slurm_run.refusal(alone) == "sbatch refuses it: no"
    account = (
        "Job submission failed with exception: The given account a appears to be invalid. "
        "Available accounts:\nlab, root"
    )
    assert slurm_run.refusal(account) == (
        "it is not submitted: The given account a appears to be invalid. "
        "Available accounts: lab, root"
    )


def test_a_refusal_that_passes():
    said = "sbatch: error: Batch job submission failed: "
    assert slurm_run.passing(said + "Unable to contact slurm controller (connect failure)")
    assert slurm_run.passing(said + "Socket timed out on send/recv operation")
    shares = "'sshare' reported: 'Couldn't get shares from controller: "
    away = "Unable to contact slurm controller (connect failure)"
    assert slurm_run.passing(slurm_run.EXCEPTION + shares + away)
    assert not slurm_run.passing(f"{slurm_run.EXCEPTION}The given account a appears to be invalid")
    assert not slurm_run.passing(said + "Invalid account or account/partition combination")
    assert not slurm_run.passing(said + "Invalid qos'.\n    sbatch call:\n  -D temporarily")


class Logger:
    """What was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def debug(self, text: str) -> None:
        pass

    def warning(self, text: str) -> None:
        self.said.append(text)


def executor(monkeypatch, answers):
    """The executor without Snakemake: what it reports is noted."""
    one = slurm_executor.WatchingExecutor.__new__(slurm_executor.WatchingExecutor)
    one.watch = Watch()
    one.preemptions = Counter()
    one.logger = Logger()
    one.run_uuid = "run"
    one._next_seconds_between_status_checks = 4
    settings = SimpleNamespace(init_seconds_before_status_checks=4, keep_successful_logs=True)
    one.workflow = SimpleNamespace(executor_settings=settings)
    one.ends = []
    one.report_job_success = lambda info: one.ends.append((info.external_jobid, "success"))
    one.report_job_error = lambda info, msg, aux_logs: one.ends.append((info.external_jobid, msg))
    rest = iter(answers)
    monkeypatch.setattr(slurm_run, "asked", lambda name: next(rest))
    return one


def test_no_job_is_lost_while_slurm_does_not_answer(monkeypatch):
    job = SimpleNamespace(
        name="embed",
        wildcards={"row": "rspnet", "seed": "0", "fp": "abc"},
        log=["logs/embed.log"],
        output=["no"],
    )
    infos = [SimpleNamespace(external_jobid=n, job=job, aux={}) for n in ("7", "8")]
    cancelled = {"7": State("COMPLETED"), "8": State("CANCELLED")}
    one = executor(monkeypatch, [None] * 6 + [cancelled])

    async def look() -> None:
        nonlocal infos
        infos = [info async for info in one.check_active_jobs(infos)]

    for _ in range(6):
        asyncio.run(look())
        assert len(infos) == 2
    asyncio.run(look())
    assert infos == []
    assert one.ends[0] == ("7", "success")
    assert one.ends[1][0] == "8"
    assert "embed rspnet 0: SLURM job 8: it was cancelled" in one.ends[1][1]
    assert "logs/embed.log" in one.ends[1][1]
    assert [text.partition(":")[0] for text in one.logger.said] == [
        "SLURM does not answer",
        "SLURM answers again",
    ]


def test_a_forgotten_job_is_left_to_snakemakes_look_at_its_output(monkeypatch):
    job = SimpleNamespace(name="embed", wildcards={}, log=[], output=[])
    info = SimpleNamespace(external_jobid="7", job=job, aux={})
    one = executor(monkeypatch, [{}] * 3)

    async def look() -> list[object]:
        return [info async for info in one.check_active_jobs([info])]

    assert [len(asyncio.run(look())) for _ in range(3)] == [1, 1, 0]
    assert one.ends == [("7", "success")]
    assert "SLURM job 7: SLURM knows it no more" in one.logger.said[0]
    assert one.next_seconds_between_status_checks == 4  # what decides is looked at soon


@pytest.mark.parametrize("made", [True, False])
def test_a_job_that_was_preempted_and_not_queued_again_is_submitted_again(
    monkeypatch, tmp_path, made
):
    out = tmp_path / "out"
    job = SimpleNamespace(
        name="embed", wildcards={}, log=[], output=[str(out)], jobid=3, resources={}
    )
    info = SimpleNamespace(external_jobid="7", job=job, aux={})
    one = executor(monkeypatch, [{"7": State("PREEMPTED")}] * 3)
    submitted = []
    one.run_job = submitted.append
    one._job_submission_executor = SimpleNamespace(submit=lambda call, job: call(job))
    if made:
        out.touch()

    async def look() -> list[object]:
        return [info async for info in one.check_active_jobs([info])]

    assert [len(asyncio.run(look())) for _ in range(3)] == [1, 1, 0]
    assert one.ends == ([("7", "success")] if made else [])  # no attempt is used
    assert submitted == ([] if made else [job])
    assert ("it counts as done" if made else "submitted again") in one.logger.said[0]


@pytest.mark.parametrize(("resources", "times"), [({"preemptions": 2}, 2), ({}, 100)])
def test_a_job_that_is_preempted_more_often_uses_attempts(monkeypatch, resources, times):
    job = SimpleNamespace(
        name="embed", wildcards={}, log=["embed.log"], output=["no"], jobid=3, resources=resources
    )
    info = SimpleNamespace(external_jobid="7", job=job, aux={})
    one = executor(monkeypatch, [])
    submitted = []
    one.run_job = submitted.append
    one._job_submission_executor = SimpleNamespace(submit=lambda call, job: call(job))
    end = End(Outcome.PREEMPTED, "it was preempted, and it was not queued again")
    for _ in range(times):
        one._report(info, end)
    assert (len(submitted), one.ends) == (times, [])
    one._report(info, end)
    one._report(info, end)  # of the next attempt
    assert len(submitted) == times
    assert len(one.ends) == 2
    assert "embed: SLURM job 7: it was preempted, and it was not queued again" in one.ends[0][1]
    assert "embed.log" in one.ends[0][1]


def test_the_pause_between_two_looks_grows_to_six_times_the_first(monkeypatch):
    info = SimpleNamespace(external_jobid="7", job=None, aux={})
    one = executor(monkeypatch, [{"7": State("RUNNING")}] * 7)

    async def look() -> None:
        assert [info async for info in one.check_active_jobs([info])] == [info]

    pauses = []
    for _ in range(7):
        asyncio.run(look())
        pauses.append(one.next_seconds_between_status_checks)
    assert pauses == [8, 12, 16, 20, 24, 24, 24]


def test_accounting_is_asked_once_per_account(monkeypatch):
    """It may hang, and each answer then takes 45 seconds."""
    questions = []

    def answer(self, job):
        questions.append(job.resources.get("slurm_account"))
        yield f" -A {questions[-1]}"

    monkeypatch.setattr(Executor, "get_account_arg", answer)
    one = executor(monkeypatch, [])
    one.accounts = {}
    jobs = [SimpleNamespace(resources=what) for what in ({"slurm_account": "lab"}, {}) * 3]
    said = [next(one.get_account_arg(job)) for job in jobs]
    assert said == [" -A lab", " -A None"] * 3
    assert questions == ["lab", None]


def test_a_refused_job_is_submitted_again_and_at_last_given_up(monkeypatch):
    monkeypatch.setattr(slurm_run, "PAUSES", (0, 0))
    message = "SLURM sbatch failed. The error message was 'sbatch: error: Connection refused'.\n"
    one = executor(monkeypatch, [])
    one.refusals = Counter()
    one.wait = True
    one._main_event_loop = None
    one.report_job_error = lambda info, msg: one.ends.append((info.external_jobid, msg))
    tries = []

    def run_job(job: object) -> None:
        tries.append(job)
        one._report_job_error_threadsafe(info, message)

    one.run_job = run_job
    job = SimpleNamespace(name="embed", wildcards={"row": "rspnet"}, jobid=3)
    info = SimpleNamespace(external_jobid=None, job=job)
    run_job(job)
    assert len(tries) == 3
    assert one.ends == [(None, "embed rspnet: sbatch refuses it: Connection refused. ")]
    one.ends.clear()
    message = "SLURM sbatch failed. The error message was 'sbatch: error: Invalid account'.\n"
    run_job(job)
    assert len(tries) == 4
    assert one.ends == [(None, "embed rspnet: sbatch refuses it: Invalid account. ")]


def test_a_job_that_is_killed_once_its_output_is_there_is_done(monkeypatch, tmp_path):
    job = SimpleNamespace(name="embed", wildcards={}, log=[], output=[tmp_path])
    info = SimpleNamespace(external_jobid="7", job=job, aux={})
    one = executor(monkeypatch, [{"7": State("TIMEOUT")}])

    async def look() -> list[object]:
        return [info async for info in one.check_active_jobs([info])]

    assert asyncio.run(look()) == []
    assert one.ends == [("7", "success")]
    assert "it counts as done" in one.logger.said[0]
