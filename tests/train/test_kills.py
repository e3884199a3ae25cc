"""Training that is killed at any moment and started again ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from support import pretext
from support.specs import COLOURS
from videossl.job import Job, Stopped
from videossl.models import weights
from videossl.study import schema
from videossl.study.registry import METHODS
from videossl.train import loop, pretrain

KILLS, TERMS = 3, 1  # per method; eleven are there
AGAIN, FAILED = 75, 1
MODEL = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)


def train(name: str, folder: Path) -> None:
    """What the stage does, on videos in memory."""
    torch.set_num_threads(1)
    method = pretext.build(name)
    job = Job("pretrain", {"row": name, "seed": "0"}, {}, folder, folder / "scratch", 1, {})
    recipe = loop.Recipe(pretext.WARM, 6, 16, "float32", 0)
    loop.fit(job, pretrain.Pretraining(method), pretext.batches(method), recipe)
    weights.save(method.encoder, MODEL, folder / "encoder.safetensors")
    torch.save(method.state_dict(), folder / "method.pt")


def forked(function: Callable[[], None]) -> int:
    """Start ``function`` in a child that has everything imported; its process number."""
    pid = os.fork()
    if pid == 0:
        code = FAILED
        try:
            function()
            code = 0
        except Stopped:
            code = AGAIN
        finally:
            os._exit(code)
    return pid


def wait(pid: int, seconds: float) -> int | None:
    """The exit status (negative: the signal), or None while it runs on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(METHODS))
def test_killed_and_continued_is_never_killed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("VIDEOSSL_CHECKPOINT_SECONDS", "0.05")
    whole = tmp_path / "whole"
    whole.mkdir()
    begin = time.monotonic()
    assert wait(forked(lambda: train(name, whole)), 300) == 0
    seconds = time.monotonic() - begin
    rng = random.Random(name)
    left = [signal.SIGKILL] * KILLS + [signal.SIGTERM] * TERMS
    rng.shuffle(left)
    ended = set()
    run = 0
    cut = tmp_path / "cut"
    while left:
        cut.mkdir(exist_ok=True)
        pid = forked(lambda: train(name, cut))
        status = wait(pid, rng.uniform(0.1, 0.7) * seconds)
        if status is None:
            os.kill(pid, left.pop())
            status = wait(pid, 300)
        ended.add(status)
        if status == 0:
            assert_same(whole, cut)
            run += 1
            cut.rename(tmp_path / f"done{run}")
    cut.mkdir(exist_ok=True)
    assert wait(forked(lambda: train(name, cut)), 300) == 0
    assert_same(whole, cut)
    # SIGTERM ends the process at once before training has begun
    assert ended <= {0, AGAIN, -signal.SIGKILL, -signal.SIGTERM}
    assert -signal.SIGKILL in ended


def assert_same(whole: Path, cut: Path) -> None:
    encoders = [(folder / "encoder.safetensors").read_bytes() for folder in (whole, cut)]
    assert encoders[0] == encoders[1]
    states = [torch.load(folder / "method.pt") for folder in (whole, cut)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
