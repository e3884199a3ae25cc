"""Batches: counter-based, the same for any worker and any start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specs import AUGMENT
from videossl.data import loader
from videossl.data.clips import ClipRequest, window
from videossl.schema import Clip


class Video:
    def __init__(self, k: int) -> None:
        self.frames, self.height, self.width, self.label = 10 + k, 20, 24 + 2 * (k % 3), k % 4


class Store:
    """Each pixel of a video holds its index, each frame its own in the first corner."""

    videos = tuple(Video(k) for k in range(11))

    def clip(self, video, frames, out=None):
        info = self.videos[video]
        found = np.full((len(frames), info.height, info.width, 3), video, np.uint8)
        found[:, 0, 0, 0] = frames
        if out is not None:
            out[:] = found
        return found


def requests(rng, num_frames):
    start = int(rng.integers(num_frames))
    return [
        ClipRequest(window(num_frames, start, 3, s), view) for s, view in ((1, 0), (2, 1), (3, 1))
    ]


def batches(seed: int = 0) -> loader.TrainBatches:
    return loader.TrainBatches(Store(), range(11), requests, AUGMENT, 4, seed)


def same(a: loader.Batch, b: loader.Batch) -> bool:
    pairs = [
        *zip(a.clips, b.clips, strict=False),
        *zip(a.draws, b.draws, strict=False),
        (a.video, b.video),
        (a.label, b.label),
    ]
    return all(torch.equal(x, y) for x, y in pairs)


def test_each_epoch_sees_each_video_at_most_once_in_another_order():
    stream = batches()
    assert stream.steps_per_epoch == 2
    epochs = [np.concatenate([stream.members(2 * e + k)[1] for k in range(2)]) for e in range(4)]
    for order in epochs:
        assert len(set(order)) == 8
    assert len({tuple(order) for order in epochs}) == 4


@pytest.mark.parametrize("workers", [0, 1, 3])
def central_batches_depend_on_seed_and_step_only(workers):
    expected = [batches()[step] for step in range(3, 7)]
    found = list(batches().from_step(3, 7, workers, pin=False))
    assert all(same(a, b) for a, b in zip(expected, found, strict=True))
    assert not same(batches()[3], batches(seed=1)[3])
    assert not same(batches()[3], batches()[4])


def test_a_videos_draws_do_not_depend_on_its_batch():
    stream, smaller = batches(), loader.TrainBatches(Store(), range(11), requests, AUGMENT, 2, 0)
    for video in range(11):
        for (a, x), (b, y) in zip(stream.sample(5, video), smaller.sample(5, video), strict=True):
            assert np.array_equal(a.frames, b.frames)
            assert np.array_equal(x, y)


def test_rows_hold_their_videos_clips():
    batch = batches()[1]
    for clips in batch.clips:
        assert clips.shape[:2] == (4, 3)
        for row, video in enumerate(batch.video.tolist()):
            assert (clips[row, :, 1, 1] == video).all()
            assert batch.label[row] == Store.videos[video].label
            width = Store.videos[video].width
            assert (clips[row, :, :, width:] == 0).all()


def test_a_view_is_one_draw():
    batch = batches()[0]
    assert torch.equal(batch.draws[1], batch.draws[2])
    assert not torch.equal(batch.draws[0], batch.draws[1])


def test_testing_covers_every_video_in_order():
    clip = Clip(frames=2, stride=2, size=16)
    found = list(loader.central_batches(Store(), [3, 5], clip, 3, 4))
    assert torch.cat([b.video for b in found]).tolist() == [3, 3, 3, 5, 5, 5]
    first = torch.cat([b.clips[0][:, 0, 0, 0, 0] for b in found]).tolist()
    assert first == [0, 5, 10, 0, 6, 12]
