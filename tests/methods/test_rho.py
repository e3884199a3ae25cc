"""What the four ρ methods share: which clips they ask for, and the momentum's schedule."""

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from support.study import ROOT
from videossl.study import params, schema
from videossl.study.registry import METHODS

NAMES = [name for name in METHODS if name.startswith("rho_")]
STUDY = params.load(ROOT / "params.yaml")


class Encoder(nn.Linear):
    """Small, as no clip passes it."""

    num_features = 4

    def __init__(self):
        super().__init__(4, 4)


def build(name, rho, stride=1, **changes):
    clip = schema.Clip(frames=8, stride=stride, size=16)
    module = import_module(METHODS[name])
    small = {"dim": 4, "hidden": 4, "projector_hidden": 4, "predictor_hidden": 4}
    spec = STUDY.methods[name].model_copy(update=small | changes)
    method = module.build(spec, rho, clip, Encoder())
    return method, method.reach(spec, rho, clip).frames


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 300),
    rho=st.integers(1, 6),
    stride=st.integers(1, 8),
)
def test_requests_are_rho_windows_each_under_its_own_draw(name, seed, num_frames, rho, stride):
    method, span = build(name, rho, stride)
    assert method.span == span == 7 * stride + 1
    requests = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.draw_id for r in requests] == list(range(max(rho, 2)))
    for r in requests:
        assert (r.kind, r.labels) == ("augmented", ())
        assert r.frames.shape == (8,)
        assert 0 <= r.frames.min() <= r.frames.max() < num_frames
        if num_frames >= span:
            assert np.diff(r.frames).tolist() == [stride] * 7
    if rho == 1:
        np.testing.assert_array_equal(requests[0].frames, requests[1].frames)


@pytest.mark.parametrize("name", NAMES)
def test_times_of_the_clips_are_independent(name):
    rng, (method, span) = np.random.default_rng(0), build(name, 3)
    starts = np.array([[r.frames[0] for r in method.requests(rng, 200)] for _ in range(2000)])
    correlation = np.corrcoef(starts.T)
    assert np.abs(correlation - np.eye(3)).max() < 0.08
    assert starts.min() == 0
    assert starts.max() == 200 - span


@pytest.mark.parametrize(
    ("schedule", "progress", "momentum"),
    [("constant", 0.5, 0.8), ("cosine", 0.5, 0.9), ("cosine", 0.0, 0.8), ("cosine", 1.0, 1.0)],
)
@pytest.mark.parametrize("name", ["rho_moco", "rho_byol"])
def test_momentum_encoders_follow_ever_less(name, schedule, progress, momentum):
    method, _ = build(name, 2, momentum=0.8, momentum_schedule=schedule)
    slow = method.key_encoder if name == "rho_moco" else method.target_encoder
    before = [p.clone() for p in slow.parameters()]
    for parameter in method.parameters():
        if parameter.requires_grad:
            parameter.data.add_(1.0)
    method.after_step(progress)
    head = method.head if name == "rho_moco" else method.projector
    followed = [*method.encoder.parameters(), *head.parameters()]
    for old, new, goal in zip(before, slow.parameters(), followed, strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * goal)
