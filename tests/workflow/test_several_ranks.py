"""``pretrain.<budget>.gpus`` starts its ranks itself; asked to stop, they save and go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from videossl.cli import EXIT_AGAIN

OVERLAY = "pretrain:\n  short:\n    gpus: 2\n    epochs: 30\n"


@pytest.mark.slow
def test_two_ranks_from_the_command_line_stop_and_go_on(study):
    study.shrink()
    study.overlay(OVERLAY)
    study.run("videossl", "prepare", "synthetic", "--out", "made")
    study.run("videossl", "decode", "synthetic", "--videos", "made", "--out", "stored")

    def command(out: str) -> list[str]:
        return ["videossl", "pretrain", "rspnet", "--seed", "0", "--shards", "stored", "--out", out]

    study.run(*command("whole"))
    with subprocess.Popen(
        command("cut"),
        cwd=study.root,
        env={**study.env, "VIDEOSSL_CHECKPOINT_SECONDS": "0.2"},
        stderr=subprocess.DEVNULL,
    ) as run:
        while not list((study.root / "scratch").rglob("checkpoint.pt")):
            assert run.poll() is None
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGTERM)
    assert run.returncode == EXIT_AGAIN
    assert not (study.root / "cut").exists()
    said = study.run(*command("cut")).stdout
    assert "resumes at step" in said
    for name in ("encoder.safetensors", "batch.npz"):
        whole, cut = ((study.root / out / name).read_bytes() for out in ("whole", "cut"))
        assert whole == cut, name


@pytest.mark.slow
def test_an_error_in_a_rank_is_shown_and_ends_the_stage(study):
    study.shrink(["rspnet"])
    study.overlay(
        "pretrain:\n  short:\n    gpus: 2\n    batch_size: 64\nmethods:\n  rspnet:\n    queue: 64\n"
    )
    study.run("videossl", "prepare", "synthetic", "--out", "made")
    study.run("videossl", "decode", "synthetic", "--videos", "made", "--out", "stored")
    done = study.run(
        *("videossl", "pretrain", "rspnet", "--seed", "0", "--shards", "stored", "--out", "x"),
        check=False,
    )
    assert done.returncode == 2
    assert "has only 48 training videos in split 1" in done.stderr
    assert "one of 2 ranks failed" in done.stderr
