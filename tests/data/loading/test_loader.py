"""Batches: counter-based, the same for any worker and any start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.specs import AUGMENT
from support.stores import Store, requests
from videossl.data.loading import loader
from videossl.study.schema import Clip


def training(seed: int = 0) -> loader.TrainBatches:
    return loader.TrainBatches(Store(), range(11), requests, AUGMENT, 4, seed)


def kept(source, workers: int = 0) -> list[loader.Batch]:
    """Copies of all batches: a batch's memory is used again."""
    return [
        replace(batch, clips=[clip.clone() for clip in batch.clips])
        for batch in loader.batches(source, workers)
    ]


def one(step: int, seed: int = 0) -> loader.Batch:
    """A single batch, read afresh."""
    (batch,) = kept(training(seed).between(step, step + 1))
    return batch


def same(a: loader.Batch, b: loader.Batch) -> bool:
    pairs = [
        *zip(a.clips, b.clips, strict=True),
        *zip(a.draws, b.draws, strict=True),
        (a.video, b.video),
        (a.example, b.example),
    ]
    return all(torch.equal(x, y) for x, y in pairs)


def test_each_epoch_sees_each_video_at_most_once_in_another_order():
    source = training()
    assert source.steps_per_epoch == 2
    epochs = [np.concatenate([source.videos_of(2 * e + k) for k in range(2)]) for e in range(4)]
    for order in epochs:
        assert len(set(order)) == 8
    assert len({tuple(order) for order in epochs}) == 4


@pytest.mark.parametrize("workers", [0, 1, 3, 4, 6])
def test_batches_depend_on_seed_and_step_only(workers):
    expected = [one(step) for step in range(3, 13)]
    found = kept(training().between(3, 13), workers)
    assert all(same(a, b) for a, b in zip(expected, found, strict=True))
    assert not same(one(3), one(3, seed=1))
    assert not same(one(3), one(4))


def test_a_videos_draws_do_not_depend_on_its_batch():
    stream, smaller = training(), loader.TrainBatches(Store(), range(11), requests, AUGMENT, 2, 0)
    for video in range(11):
        samples = (source.sample(5, video, video) for source in (stream, smaller))
        for (a, x), (b, y) in zip(*samples, strict=True):
            assert np.array_equal(a.frames, b.frames)
            assert np.array_equal(x, y)


def test_rows_hold_their_videos_clips():
    batch = one(1)
    for clips in batch.clips:
        assert clips.shape[:2] == (4, 3)
        for row, video in enumerate(batch.video.tolist()):
            assert (clips[row, :, 0, 1, 1] == video).all()
            width = Store.videos[video].width
            assert (clips[row, :, :, :, width:] == 0).all()


def test_examples_of_one_video_are_drawn_apart():
    examples = [20 + place for place in range(4)]
    source = loader.TrainBatches(Store(), [3, 3, 5, 5], requests, AUGMENT, 4, 0, None, examples)
    (batch,) = kept(source.between(0, 1))
    assert sorted(batch.example.tolist()) == examples
    assert batch.video.tolist() == [3 if e < 22 else 5 for e in batch.example.tolist()]
    first, second = (source.sample(0, 3, example)[0][1] for example in (20, 21))
    assert not np.array_equal(first, second)


def test_one_draw_id_is_one_draw():
    batch = one(0)
    assert torch.equal(batch.draws[1], batch.draws[2])
    assert not torch.equal(batch.draws[0], batch.draws[1])


def test_testing_covers_every_video_in_order():
    clip = Clip(frames=2, stride=2, size=16)
    found = kept(loader.CentralBatches(Store(), [3, 5], clip, 3, 4))
    assert torch.cat([b.video for b in found]).tolist() == [3, 3, 3, 5, 5, 5]
    first = torch.cat([b.clips[0][:, 0, 0, 0, 0, 0] for b in found]).tolist()
    assert first == [0, 5, 10, 0, 6, 12]
