"""Start a command once per GPU, under ``torchrun``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from types import FrameType

from videossl import machine
from videossl.job import Stopped, UserError


def launch_ranks(count: int, arguments: Sequence[str]) -> None:
    """Run ``videossl`` with ``arguments`` in ``count`` ranks on this machine, and wait.

    A signal to stop is passed on: the ranks save their state.

    Raises:
        Stopped: they were asked to stop and did.
        UserError: a rank failed; it has said why.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    share = ["--nproc-per-node", str(count), "--module", "videossl", *arguments]
    # torchrun would set one thread itself, and say so
    environment = {"OMP_NUM_THREADS": str(machine.threads()), **os.environ}
    asked: list[int] = []
    with (
        TemporaryDirectory(prefix="videossl-ranks-") as logs,  # torchrun would leave one behind
        subprocess.Popen([*launcher, "--log-dir", logs, *share], env=environment) as run,
    ):

        def pass_on(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            run.send_signal(signal.SIGTERM)

        old = {s: signal.signal(s, pass_on) for s in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            code = run.wait()
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
    if asked:
        raise Stopped(f"{count} ranks were asked to stop")
    if code:
        raise UserError(f"one of {count} ranks failed; its error is above")
