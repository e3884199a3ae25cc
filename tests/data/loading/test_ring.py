"""The ring of shared memory: what a worker does to a run, and what becomes of the workers."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from support.specs import AUGMENT
from support.stores import Store, requests
from videossl.data.loading import loader, ring
from videossl.data.loading.fields import Field
from videossl.data.shards.store import CorruptShard
from videossl.job import UserError

HERE = Path(__file__).resolve().parent


def source(store: Store, stop: int = 12) -> loader.TrainBatches:
    return loader.TrainBatches(store, range(11), requests, AUGMENT, 4, 0).between(0, stop)


class Damaged(Store):
    """Video 7 cannot be read."""

    def clip(self, video, frames, out=None):
        if video == 7:
            raise CorruptShard("shard-00000.lmdb: v7.avi, frame 3: checksum mismatch")
        return super().clip(video, frames, out)


class Deadly(Store):
    """Video 7 ends its reader."""

    def clip(self, video, frames, out=None):
        if video == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().clip(video, frames, out)


def children() -> list[psutil.Process]:
    """Processes of ours, without the helpers that Python starts beside them."""
    return [psutil.Process(process.pid) for process in mp.active_children()]


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_is_named_and_ends_the_stream(workers):
    stream = loader.batches(source(Damaged()), workers)
    with pytest.raises(CorruptShard, match=r"v7\.avi, frame 3"):
        list(stream)
    assert children() == []


def test_a_dead_worker_is_an_error_and_no_hang():
    stream = loader.batches(source(Deadly()), 2)
    with pytest.raises(UserError, match=r"a process that reads clips ended \(SIGKILL\)"):
        list(stream)
    assert children() == []


def test_leaving_early_ends_the_workers():
    stream = loader.batches(source(Store()), 3)
    next(stream)
    assert len(children()) == 3
    stream.close()
    assert children() == []


def test_workers_stay_when_the_job_is_asked_to_stop():
    stream = loader.batches(source(Store(), 40), 2)
    next(stream)
    for child in children():
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            child.send_signal(number)
    assert len(list(stream)) == 39


def test_no_step_is_no_batch():
    assert list(loader.batches(source(Store(), 0), 2)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_allocated_once(workers):
    places = set()
    for batch in loader.batches(source(Store(), 30), workers):
        places.add(batch.clips[0].data_ptr())
    assert len(places) == (ring.SLOTS if workers else 1)


def test_every_row_is_filled_whoever_fills_it():
    for workers in (1, 3, 5):
        for batch in loader.batches(source(Store()), workers):
            for clips, draws in zip(batch.clips, batch.draws, strict=True):
                assert torch.equal(clips[:, 0, 0, 1, 1, 1].long(), batch.video)
                assert (draws[:, Field.HEIGHT] > 0).all()  # a crop has a height


def test_shares_are_all_rows_once():
    for rows in range(9):
        for count in range(1, 7):
            parts = [ring._share(rows, number, count) for number in range(count)]
            assert [row for part in parts for row in part] == list(range(rows))


def test_workers_end_with_a_killed_parent():
    script = (
        f"import sys; sys.path[:0] = {[str(HERE), str(HERE.parents[1])]!r}\n"
        "import time; from test_ring import Store, loader, source\n"
        "stream = loader.batches(source(Store(), 10**6), 2)\n"
        "next(stream)\n"
        "print('reading', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == "reading\n"
        workers = psutil.Process(parent.pid).children()
        assert len(workers) == 2
        time.sleep(1)  # they have filled what they may, and wait with answers that nobody has read
        parent.kill()
        assert parent.stderr.read() == ""  # which ends when they do
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert len(gone) == 2
    assert alive == []


def test_a_stream_that_is_left_open_does_not_keep_the_process():
    script = (
        f"import sys; sys.path[:0] = {[str(HERE), str(HERE.parents[1])]!r}\n"
        "from test_ring import Store, loader, source\n"
        "stream = loader.batches(source(Store(), 10**6), 2)\n"
        "next(stream)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.gpu
def test_batches_reach_a_gpu_unharmed():
    device = torch.device("cuda")
    expected = [batch.clips[0].numpy().copy() for batch in loader.batches(source(Store()), 0)]
    found = []
    for batch in loader.batches(source(Store()), 2, pin=True):
        found.append(batch.to(device).clips[0])
        torch.cuda._sleep(10_000_000)  # the copy of the next batch waits behind this
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b.cpu().numpy())
