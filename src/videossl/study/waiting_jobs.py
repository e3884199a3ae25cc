"""Jobs of this user that wait in SLURM's queue, and which of them for what may never come.

Snakemake waits for them without a word. SLURM says the reason of each (man squeue, "JOB REASON
CODES"); of some only a person can end the waiting.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

SECONDS = 10  # that squeue may take: a controller that is away answers late
# job, folder, reason, comment: Snakemake writes its rule and wildcards there
FIELDS = "%i|%Z|%r|%k"
OURS = "rule_"  # begins every comment of Snakemake's SLURM plugin
NEVER = {  # a word that the reason holds -> what to do
    "PartitionTimeLimit": "it asks for more time than the partition gives: lower `runtime`",
    "PartitionNodeLimit": "it asks for more nodes than the partition gives",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is closed",
    "BadConstraints": "no node has what it asks for",
    "AccountNotAllowed": "the account may not use the partition: set `slurm_account`",
    "InvalidAccount": "the account is not valid: set `slurm_account`",
    "InvalidQOS": "the quality of service is not valid: set `slurm_qos`",
    "MaxCpuPerAccount": "it asks for more cores than the account may have",
    "MaxMemPerLimit": "it asks for more memory than the account may have",
    "JobHeld": "it is held: `scontrol release` lets it go",
    "launch failed requeued held": "it could not be started and is held: `scontrol release`",
    "DependencyNeverSatisfied": "it waits for a job that failed",
    "ReqNodeNotAvail": "the nodes that could run it are down, drained or reserved",
    "Nodes required for job are DOWN, DRAINED": "the nodes that could run it are down or drained",
    "Resources configuration": "no node has as much as it asks for",
}


@dataclass(frozen=True)
class Waiting:
    """A job in the queue."""

    job: str
    folder: str  # of its study
    what: str  # rule and wildcards
    reason: str  # as SLURM gives it
    advice: str  # "" if it only has to wait: its reason passes by itself


def found() -> list[Waiting]:
    """The jobs; none where there is no SLURM, or where it does not answer."""
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--me", "--states=PENDING", "--noheader", f"--format={FIELDS}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parsed(said.stdout) if said.returncode == 0 else []


def parsed(text: str) -> list[Waiting]:
    """The jobs of ``squeue``'s lines in the form of ``FIELDS``."""
    jobs = []
    for line in text.splitlines():
        job, _, rest = line.partition("|")
        folder, _, rest = rest.partition("|")
        reason, _, comment = rest.rpartition("|")
        if comment.startswith(OURS):
            what = comment.removeprefix(OURS).replace("_wildcards_", " ")
            advice = next((say for word, say in NEVER.items() if word in reason), "")
            jobs.append(Waiting(job, folder, what, reason, advice))
    return jobs
