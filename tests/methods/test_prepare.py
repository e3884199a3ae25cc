"""What every method makes of a batch before its network may run at another time, in a thread."""

from __future__ import annotations

import copy

import pytest
import torch

from support import pretext
from videossl.data.loading import loader
from videossl.data.loading.device_clips import to_device_clips
from videossl.study.registry import METHODS


@pytest.mark.parametrize("name", sorted(METHODS))
def test_prepare_depends_on_the_batch_and_changes_nothing(name):
    method = pretext.build(name)
    (batch,) = loader.batches(pretext.batches(method).between(0, 1))
    clips = to_device_clips(batch, pretext.CLIP.size)
    given, state = copy.deepcopy(clips), copy.deepcopy(method.state_dict())
    torch.manual_seed(5)
    first = method.prepare(clips, batch.labels)
    drawn = torch.rand(())
    method.eval()
    second = method.prepare(clips, batch.labels)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(()))  # no random number was taken
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(clips, given, strict=True))
    assert not any(x.requires_grad for x in first)
    assert all(torch.equal(x, state[key]) for key, x in method.state_dict().items())
