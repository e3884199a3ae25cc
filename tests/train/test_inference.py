"""Outputs of a network over all clips of videos: the same however they are cut into batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import pretext
from videossl.data.loading.loader import CentralBatches
from videossl.train.inference import clip_blocks


def blocks_of(encoder, videos, clips, batch_size):
    source = CentralBatches(pretext.Store(), videos, pretext.CLIP, clips, batch_size)
    return list(clip_blocks(encoder, source, 1, encoder.colours))


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_videos_come_whole_and_in_order(clips, batch_size):
    torch.manual_seed(0)
    encoder = pretext.build("rspnet").encoder
    encoder.train()
    videos = [4, 0, 7, 2, 2]
    found = blocks_of(encoder, videos, clips, batch_size)
    assert encoder.training
    assert all(block.shape[1] == clips for block in found)
    assert len(found) <= -(-len(videos) * clips // batch_size)
    whole = np.concatenate(found)
    assert len(whole) == len(videos)
    for row, video in enumerate(videos):
        (alone,) = blocks_of(encoder, [video], clips, 64)
        np.testing.assert_allclose(whole[row], alone[0], rtol=1e-5, atol=1e-6)


def test_the_mode_is_put_back_where_reading_is_given_up():
    encoder = pretext.build("rspnet").encoder
    encoder.train()
    source = CentralBatches(pretext.Store(), [0, 1, 2], pretext.CLIP, 1, 1)
    stream = clip_blocks(encoder, source, 1, encoder.colours)
    next(stream)
    assert not encoder.training
    stream.close()
    assert encoder.training
