"""What is watched while an encoder is pretrained."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support import pretext
from videossl.job import UserError
from videossl.train import monitor
from videossl.train.pretrain import Pretraining


def seen(features: torch.Tensor) -> float:
    """The spread of what an encoder gave."""
    encoder = nn.Identity()
    watching = monitor.Features(encoder)
    encoder(features)
    return watching.spread()


def test_spread_is_one_on_the_sphere_and_zero_when_collapsed():
    torch.manual_seed(0)
    assert seen(torch.randn(4096, 64)) == pytest.approx(1, abs=0.02)
    assert seen(torch.ones(16, 64)) == pytest.approx(0, abs=1e-6)
    assert seen(3 * torch.ones(16, 64) + 1e-6 * torch.randn(16, 64)) < monitor.COLLAPSED


def test_evaluation_is_not_watched():
    encoder = nn.Identity()
    watching = monitor.Features(encoder)
    encoder(torch.randn(8, 4))
    before = watching.spread()
    encoder.eval()
    encoder(torch.zeros(8, 4))
    assert watching.spread() == before


def test_a_collapsed_encoder_stops_the_run():
    task = Pretraining(pretext.build("rspnet"))
    task.features.last = torch.ones(8, 16)
    with pytest.raises(UserError, match=r"collapsed in epoch 3 \(feature_std = "):
        task.after_epoch(3)


def test_the_monitor_runs_at_its_epochs():
    method = pretext.build("rspnet")
    task = Pretraining(method, lambda encoder: 0.25, 2)
    task.features.last = torch.randn(8, 16)
    rows = [task.after_epoch(epoch) for epoch in (1, 2, 3, 4)]
    assert ["neighbour_accuracy" in row for row in rows] == [False, True, False, True]
    assert 0 < rows[0]["feature_std"] < 2


def test_neighbours_are_other_training_videos():
    store = pretext.Store()
    for video in range(pretext.VIDEOS):  # two videos of each picture
        store.pixels[video] = store.pixels[video // 2 * 2]
        store.videos[video].label = video // 2
    method = pretext.build("rspnet")
    measure = monitor.neighbour_accuracy(store, range(pretext.VIDEOS), pretext.CLIP, 8, 1)
    assert measure(method.encoder) == measure(method.encoder) >= 0.75
    assert method.encoder.training


def test_there_is_no_monitor_without_classes():
    store = pretext.Store()
    for video in store.videos:
        video.label = -1
    assert monitor.neighbour_accuracy(store, range(pretext.VIDEOS), pretext.CLIP, 8, 1) is None
