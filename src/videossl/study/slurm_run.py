"""What becomes of a run's jobs on a SLURM, from what its queue says of them.

Snakemake's executor plugin for SLURM (2.8) submits and cancels jobs. Where it watches them it waits
for ever for a job that SLURM has forgotten, that was preempted or lost its node and is not queued
again, and for all jobs once SLURM did not answer a few times in a row. Here every job ends: well,
in one line, or in Snakemake's own look at whether its output is there.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from videossl.study import waiting_jobs

ANSWER_SECONDS = 60  # that squeue may take
LOOKS = 3  # in a row, until a job is believed to be forgotten, or not to be queued again
PAUSES = (5, 10, 20, 40, 60, 60, 120, 120, 120)  # seconds between tries to submit: nine minutes
PREEMPTIONS = (
    100  # of a job, after which each uses an attempt; the resource `preemptions` says else
)
FIELDS = "%i|%T|%r|%k"  # job, state, reason, comment (man squeue, "--format")

FAILED = {  # man squeue, "JOB STATE CODES"
    "BOOT_FAIL": "its node could not be started",
    "CANCELLED": "it was cancelled",
    "DEADLINE": "its deadline passed",
    "FAILED": "it failed",
    "OUT_OF_MEMORY": "it took more memory than it asked for",
    "REVOKED": "another cluster took it",
    "TIMEOUT": "it took more time than it asked for",
}
# SLURM may queue these again, which shows a moment later
QUEUED_AGAIN = {
    "NODE_FAIL": "its node was lost, and it was not queued again",
    "PREEMPTED": "it was preempted, and it was not queued again",
}
# what SLURM writes into a job's log where memory ended a part of it, and the job only "failed"
NO_MEMORY = ("memory limit", "oom_kill", "oom-kill", "Out Of Memory")
# what sbatch refuses with where asking again may help
PASSING = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "temporarily",
    "Connection refused",
    "Zero Bytes were transmitted",
    "Transport endpoint is not connected",
    "Required partition not available",
    "QOSMaxSubmitJobPerUserLimit",
    "AssocMaxSubmitJobLimit",
    "Job violates accounting/QOS policy (job submit limit",
)
EXCEPTION = "Job submission failed with exception: "  # of the plugin, in front of its own errors


class Outcome(Enum):
    """What a job came to."""

    DONE = "done"
    FAILED = "failed"
    PREEMPTED = "preempted"  # by no fault of its own: no attempt is used
    FORGOTTEN = "forgotten"  # no word of it is left: what it made decides


@dataclass(frozen=True)
class End:
    """How a job ended, and in words why."""

    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class State:
    """What the queue says of a job."""

    state: str
    reason: str = ""
    comment: str = ""


def asked(name: str) -> dict[str, State] | None:
    """Job number -> state of this user's jobs called ``name``; None if SLURM does not answer."""
    command = ["squeue", "--states=all", "--noheader", f"--name={name}", f"--format={FIELDS}"]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parsed(said.stdout) if said.returncode == 0 else None


def parsed(text: str) -> dict[str, State]:
    """The states in ``squeue``'s lines in the form of ``FIELDS``."""
    found = {}
    for line in text.splitlines():
        job, _, rest = line.partition("|")
        state, _, rest = rest.partition("|")
        reason, _, comment = rest.rpartition("|")
        found[job.strip()] = State(state.partition(" ")[0], reason, comment)
    return found


def why_failed(log: Path) -> str:
    """Why a job failed, as far as SLURM's log of it tells; "" if it does not."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return FAILED["OUT_OF_MEMORY"] if any(word in text for word in NO_MEMORY) else ""


def passing(message: str) -> bool:
    """Whether what sbatch said may be over soon, by what the plugin says before its call of it."""
    said = message.partition("sbatch call:")[0]
    return any(word in said for word in PASSING)


def refusal(message: str) -> str:
    """The one line that tells why a job was not submitted, of what the plugin says then."""
    said, sbatch, why = message.partition("sbatch: error: ")
    if sbatch:
        return f"sbatch refuses it: {why.splitlines()[0].rstrip(chr(39) + '.')}"
    # of the account, which the plugin asks for before: over several lines
    return " ".join(f"it is not submitted: {said.removeprefix(EXCEPTION)}".split())


@dataclass
class Watch:
    """What was seen of the jobs until now."""

    silent: bool = False  # SLURM did not answer the last time
    _unsure: Counter[str] = field(default_factory=Counter)  # job -> looks in a row
    _named: set[str] = field(default_factory=set)

    def ended(self, jobs: Iterable[str], states: dict[str, State]) -> dict[str, End]:
        """Which of ``jobs`` ended, by what SLURM answers of them now."""
        ends = {}
        for job in jobs:
            known = states.get(job)
            if known is None:
                end = End(Outcome.FORGOTTEN) if self._for_long(job) else None
            elif known.state == "COMPLETED":
                end = End(Outcome.DONE)
            elif known.state in FAILED:
                end = End(Outcome.FAILED, FAILED[known.state])
            elif known.state in QUEUED_AGAIN:
                outcome = Outcome.PREEMPTED if known.state == "PREEMPTED" else Outcome.FAILED
                why = QUEUED_AGAIN[known.state]
                end = End(outcome, why) if self._for_long(job) else None
            else:
                self._unsure.pop(job, None)
                end = None
            if end is not None:
                self._unsure.pop(job, None)
                ends[job] = end
        return ends

    @property
    def unsure(self) -> bool:
        """Whether the next look decides about a job; it had better come soon."""
        return bool(self._unsure)

    def _for_long(self, job: str) -> bool:
        self._unsure[job] += 1
        return self._unsure[job] >= LOOKS

    def stuck(self, states: dict[str, State]) -> list[waiting_jobs.Waiting]:
        """Jobs that may wait for ever and were not named yet."""
        lines = [
            f"{job}||{known.reason}|{known.comment}"
            for job, known in states.items()
            if known.state == "PENDING"
        ]
        found = waiting_jobs.parsed("\n".join(lines))
        new = [one for one in found if one.advice and one.job not in self._named]
        self._named |= {one.job for one in new}
        return new
