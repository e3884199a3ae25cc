"""What a job on a SLURM runs: the stage's own command.

Snakemake's plugin has each job start a Snakemake that starts another by ``srun``, which reads the
whole study again and then runs the rule's command. Both together take longer than a short stage.
What they do besides is what Snakemake does before a command on one machine, and is here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

# bytes; Linux takes 128 KiB as one word (execve(2)), and quotes make a text longer
LONGEST = 50_000


def script(command: str, inputs: Iterable[str], logs: Iterable[str], seconds: int) -> str | None:
    """The line that runs ``command`` once its inputs are there; None if it is too long for one.

    A shared file system may show what another node wrote seconds late. What is not there after
    ``seconds`` is left to the stage, which says so.
    """
    folders = sorted({str(Path(log).parent) for log in logs})
    parts = ["set -euo pipefail"]
    if folders:
        parts.append(f"mkdir -p -- {shlex.join(folders)}")
    if inputs := list(inputs):
        parts.append(
            f"for path in {shlex.join(inputs)}; do "
            f'while [ ! -e "$path" ] && [ $SECONDS -lt {seconds} ]; do sleep 1; done; done'
        )
    text = f"exec bash -c {shlex.quote('; '.join([*parts, command]))}"
    return text if len(text.encode()) <= LONGEST else None


def within_double_quotes(text: str) -> str:
    """For the plugin, which escapes quotes alone before it puts a line into ``--wrap="..."``."""
    for special in "\\$`":
        text = text.replace(special, f"\\{special}")
    return text
