"""Codes and prototypes of ρSwAV: Sinkhorn-Knopp, freezing, distributed, queue."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from support.rho_modes import clips
from support.specs import PLAIN
from support.swav_cases import MODES, backward, balanced, build, filled, gradients, params
from videossl import distributed
from videossl.methods import losses, rho_swav
from videossl.study import schema
from videossl.train import optim

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


# ------------------------------------------------------------------------------------ Sinkhorn


@EXAMPLES
@given(
    samples=st.integers(1, 9),
    prototypes=st.integers(1, 7),
    epsilon=st.sampled_from([0.03, 0.05, 0.5]),
    iterations=st.integers(1, 5),
    data=st.data(),
)
def test_sinkhorn_equals_its_transcription(samples, prototypes, epsilon, iterations, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    scores = torch.tensor(rng.uniform(-1, 1, (2, samples, prototypes)))
    ignored = torch.zeros(samples, dtype=torch.bool)
    ignored[1:] = torch.tensor(data.draw(st.lists(st.booleans(), min_size=8, max_size=8)))[
        : samples - 1
    ]
    mask = ignored if data.draw(st.booleans()) or ignored.any() else None
    codes = rho_swav.sinkhorn(scores, epsilon, iterations, mask)
    for one, found in zip(scores.tolist(), codes, strict=True):
        expected = torch.tensor(
            balanced(one, epsilon, iterations, (~ignored).tolist()), dtype=torch.float64
        )
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)


def test_codes_are_distributions_that_use_all_prototypes_evenly():
    scores = torch.rand(64, 8, dtype=torch.float64) * 2 - 1
    scores[:, 3] += 0.5  # the nearest prototype of most
    assert (scores.argmax(dim=1) == 3).sum() > 25
    few, many = (rho_swav.sinkhorn(scores, 0.05, n) for n in (3, 500))
    for codes in (few, many):
        torch.testing.assert_close(codes.sum(dim=1), torch.ones(64, dtype=torch.float64))
    assert few.sum(dim=0).sub(8).abs().max() < 4  # 64 samples, 8 prototypes
    assert many.sum(dim=0).sub(8).abs().max() < 0.01


def test_a_small_epsilon_makes_hard_codes_and_does_not_overflow():
    scores = torch.eye(6) * 2 - 1
    assert torch.equal(rho_swav.sinkhorn(scores, 0.001, 3), torch.eye(6))
    soft = rho_swav.sinkhorn(scores, 100.0, 3)
    torch.testing.assert_close(soft, torch.full((6, 6), 1 / 6), atol=0.01, rtol=0)


def test_ignored_samples_change_no_code_of_the_others():
    scores, ignored = torch.randn(7, 4).double(), torch.arange(7) > 4
    moved = scores.clone()
    moved[5:] = torch.randn(2, 4).double()
    a, b = (rho_swav.sinkhorn(s, 0.5, 3, ignored) for s in (scores, moved))
    alone = rho_swav.sinkhorn(scores[:5], 0.5, 3)
    torch.testing.assert_close(a[:5], alone)
    torch.testing.assert_close(b[:5], alone)


# ------------------------------------------------------------------------------------ prototypes


def train(method, optimizer, steps, total, seed=0):
    """Steps of a training of ``total``; yields the prototypes after each."""
    for step in steps:
        torch.manual_seed(1000 * seed + step)
        optimizer.zero_grad(set_to_none=True)
        method.training_step(clips(2), torch.arange(5), backward)
        optimizer.step()
        method.after_step((step + 1) / total)
        yield method.prototypes.detach().clone()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize(("share", "still"), [(0.0, 0), (0.25, 2), (0.3, 3), (1.0, 8)])
def test_frozen_prototypes_do_not_move_at_all(name, share, still):
    method = build(2, frozen_prototypes=share)
    spec = schema.Optimizer(name=name, lr=0.1, momentum=0.9, weight_decay=0.1, **PLAIN)
    before = method.prototypes.detach().clone()
    moved = []
    for prototypes in train(method, optim.build(method, spec), range(8), 8):
        moved.append(not torch.equal(prototypes, before))
        torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(12))
        before = prototypes
    assert moved == [False] * still + [True] * (8 - still)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_restart_goes_on_with_the_same_bits(cut):
    options = {"frozen_prototypes": 0.5, "code_queue": 24}
    spec = schema.Optimizer(name="adamw", lr=0.01, momentum=0.9, weight_decay=0.1, **PLAIN)
    whole = build(2, **options)
    first, again = copy.deepcopy(whole), build(2, **options)
    for method, steps in ((whole, range(8)), (first, range(cut))):
        optimizer = optim.build(method, spec)
        list(train(method, optimizer, steps, 8))
    new = optim.build(again, spec)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    new.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    list(train(again, new, range(cut, 8), 8))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_weight_decay_does_not_shrink_prototypes_and_a_copy_keeps_its_own_state():
    method = build(2, frozen_prototypes=0.5)
    twin = copy.deepcopy(method)
    method.after_step(0.5)
    assert not method.frozen
    assert twin.frozen
    twin.load_state_dict(method.state_dict())
    twin(clips(2), torch.arange(5))["loss"].backward()
    assert twin.prototypes.grad is not None
    method.prototypes.data.mul_(3.0)
    method.after_step(0.6)
    torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(12))


# ------------------------------------------------------------------------------------ ranks, queue


@pytest.mark.parametrize("code_queue", [0, 64])
def test_two_halves_gathered_are_the_whole(code_queue, monkeypatch):
    method = build(2, code_queue=code_queue).double().eval()  # BN would couple rows of a half
    if code_queue:
        filled(method)
    batch, video = clips(2, batch=6, dtype=torch.float64), torch.arange(6)
    halves = [copy.deepcopy(method) for _ in range(2)]
    sent = []
    monkeypatch.setattr(distributed, "gather", lambda x: sent.append(x.detach()) or sent[-1])
    whole = method.training_step(batch, video, backward)
    found = []
    for rank, half in enumerate(halves):
        rows, arrives = slice(3 * rank, 3 * rank + 3), iter(sent)

        def gather(x, rows=rows, arrives=arrives):
            everything = next(arrives)
            torch.testing.assert_close(everything[rows], x.detach())
            return everything

        monkeypatch.setattr(distributed, "gather", gather)
        monkeypatch.setattr(distributed, "share", lambda count, rows=rows: rows)
        out = half.training_step([c[rows] for c in batch], video[rows], backward)
        found.append((out, gradients(half)))
        assert next(arrives, None) is None
    for key, value in whole.items():
        torch.testing.assert_close((found[0][0][key] + found[1][0][key]) / 2, value)
    for key, value in gradients(method).items():
        mean = (found[0][1][key] + found[1][1][key]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_embeddings_of_all_clips_enter_the_queue_after_the_loss(mode):
    method = build(3, code_queue=20, mode=mode)
    batch, video = clips(3), torch.arange(5) + 7
    twin, empty = copy.deepcopy(method), build(3, mode=mode)
    empty.load_state_dict({k: v for k, v in method.state_dict().items() if "queue" not in k})
    out = method.training_step(batch, video, backward)
    assert out["loss"] == empty.training_step(batch, video, backward)["loss"]
    for i, clip in enumerate(batch):
        expected = losses.normalize(twin.head(twin.encoder(clip)))
        torch.testing.assert_close(method.queue.keys[5 * i : 5 * i + 5], expected)
    assert method.queue.videos.tolist() == video.tolist() * 3 + [-1] * 5


def test_entries_of_a_video_of_the_batch_do_not_count():
    method = filled(build(2, code_queue=64))
    batch, video = clips(2), torch.tensor([2, 40, 80, 81, 82])
    moved, changed = copy.deepcopy(method), copy.deepcopy(method)
    moved.queue.keys[[2, 40, 30]] = losses.normalize(torch.randn(3, 16))  # own, own and empty
    changed.queue.keys[3] = losses.normalize(torch.randn(16))
    a, b, c = (m(batch, video)["loss"].item() for m in (method, moved, changed))
    assert a == b != c


# ------------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prototypes", 1),
        ("frozen_prototypes", 1.5),
        ("epsilon", 0.0),
        ("sinkhorn_iterations", 0),
        ("code_queue", -1),
        ("mode", "both"),
        ("motion", "edges"),
    ],
)
def test_impossible_values_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        params(**{key: value})
