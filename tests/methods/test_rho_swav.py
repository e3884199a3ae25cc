import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from specs import PLAIN
from videossl import losses, ranks, schema
from videossl.methods import rho_swav
from videossl.models import resnet3d
from videossl.train import optim

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
MODES = ["sequential", "parallel"]
SGD = schema.Optimizer(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.0, **PLAIN)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def params(**changes):
    values = {
        "task": "rho",
        "motion": "none",
        "dim": 16,
        "hidden": 24,
        "layers": 3,
        "batch_norm": True,
        "prototypes": 12,
        "frozen_prototypes": 0.0,
        "temperature": 0.1,
        "epsilon": 0.05,
        "sinkhorn_iterations": 3,
        "code_queue": 0,
        "mode": "parallel",
        "optimizer": SGD,
    }
    return schema.RhoSwAV(**{**values, **changes})


def build(rho=2, frames=8, stride=1, name="r3d", **changes):
    encoder = resnet3d.build(schema.Model(name=name, blocks=[1, 1, 1, 1], width=4))
    clip = schema.Clip(frames=frames, stride=stride, size=16)
    return rho_swav.build(params(**changes), rho, clip, encoder)


def clips(count, batch=5, dtype=torch.float32):
    return [torch.randn(batch, 3, 8, 16, 16).to(dtype) for _ in range(count)]


def filled(method):
    """Every entry of the queue taken but five; videos 0..63."""
    method.queue.keys.copy_(losses.normalize(torch.randn_like(method.queue.keys)))
    method.queue.videos.copy_(torch.arange(64))
    method.queue.videos[30:35] = -1
    return method


def backward(loss):
    loss.backward()


def gradients(method):
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


# ------------------------------------------------------------------------------------ Sinkhorn


def balanced(scores, epsilon, iterations, counted):
    """Sinkhorn-Knopp as published: on exponentials, in plain numbers."""
    samples, prototypes = len(scores), len(scores[0])
    q = [[math.exp(x / epsilon) for x in row] for row in scores]
    for _ in range(iterations):
        for k in range(prototypes):
            mass = sum(q[n][k] for n in range(samples) if counted[n])
            for n in range(samples):
                q[n][k] /= mass * prototypes
        for n in range(samples):
            mass = sum(q[n])
            q[n] = [x / mass / samples for x in q[n]]
    return [[x * samples for x in row] for row in q]


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


# ------------------------------------------------------------------------------------ loss


def written_out(method, batch, video):
    """Eq. 3 in plain numbers: every pair of clips, one predicting the other's code."""
    p = method.params
    z = [losses.normalize(method.head(method.encoder(c))).tolist() for c in batch]
    prototypes = method.prototypes.tolist()

    def scores(rows):
        return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in prototypes] for r in rows]

    queue, videos = [], []
    if method.queue is not None:
        queue, videos = scores(method.queue.keys.tolist()), method.queue.videos.tolist()
    counted = [True] * len(video) + [v != -1 and v not in video.tolist() for v in videos]
    own = [scores(rows) for rows in z]
    codes = [balanced(s + queue, p.epsilon, p.sinkhorn_iterations, counted) for s in own]
    total, terms = 0.0, 0
    for i in range(len(batch)):
        for j in range(len(batch)):
            if i == j:
                continue
            for b in range(len(video)):
                weights = [math.exp(s / p.temperature) for s in own[i][b]]
                guess = [w / sum(weights) for w in weights]
                total -= sum(q * math.log(g) for q, g in zip(codes[j][b], guess, strict=True))
                terms += 1
    return total / terms


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("code_queue", [0, 64])
@pytest.mark.parametrize("mode", MODES)
def test_loss_equals_the_equation(rho, code_queue, mode):
    method = build(rho, mode=mode, code_queue=code_queue).double()
    if code_queue:
        filled(method)
    batch, video = clips(max(rho, 2), dtype=torch.float64), torch.tensor([0, 9, 33, 63, 100])
    expected = written_out(copy.deepcopy(method), batch, video)
    out = method.training_step(batch, video, backward)
    assert out["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert out.keys() == {"loss", "code_accuracy", "positive_similarity"}
    assert not any(value.requires_grad for value in out.values())


def test_chance_is_the_logarithm_of_the_number_of_prototypes():
    method = build(3)
    method.prototypes.data.copy_(method.prototypes[:1].expand(12, -1).clone())
    assert method(clips(3), torch.arange(5))["loss"].item() == pytest.approx(math.log(12))
    uniform = rho_swav.swapped_prediction(torch.ones(5, 7), torch.rand(5, 2, 7).softmax(-1), 0.1)
    assert uniform.item() == pytest.approx(math.log(7))


def test_clips_that_find_their_codes_are_counted():
    method = build(2)
    one = clips(1)[0]
    out = method([one, one], torch.arange(5))
    assert out["positive_similarity"].item() == pytest.approx(1)
    # as many samples as prototypes at their own: each code is the own prototype
    method.encoder, method.head = nn.Flatten(), nn.Identity()
    method.prototypes.data = torch.eye(12)
    same, other = torch.eye(12), torch.eye(12).roll(1, dims=0)
    assert method([same, same], torch.arange(12))["code_accuracy"] == 1
    assert method([same, other], torch.arange(12))["code_accuracy"] == 0


def test_order_of_the_clips_does_not_matter():
    method = build(3).double()
    batch, video = clips(3, dtype=torch.float64), torch.arange(5)
    a = copy.deepcopy(method)(batch, video)
    b = method([batch[2], batch[0], batch[1]], video)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)
    assert [name for name, value in a.items() if value.requires_grad] == ["loss"]


# ------------------------------------------------------------------------------------ gradient


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradient_reaches_encoder_head_and_prototypes(mode, batch_norm):
    method = build(3, mode=mode, code_queue=64, batch_norm=batch_norm)
    method.training_step(clips(3), torch.arange(5), backward)
    assert any(isinstance(m, nn.BatchNorm1d) for m in method.head.modules()) == batch_norm
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert not any(b.requires_grad for b in method.buffers())


def test_no_gradient_through_the_codes():
    method = build(2).double()
    batch, video = clips(2, dtype=torch.float64), torch.arange(5)
    method(batch, video)["loss"].backward()
    # the gradient of a cross-entropy with codes that are constants
    twin = copy.deepcopy(method)
    twin.zero_grad()
    z = [losses.normalize(twin.head(twin.encoder(c))) for c in batch]
    codes = [
        torch.tensor(balanced(scores.tolist(), 0.05, 3, [True] * 5), dtype=torch.float64)
        for scores in (x @ twin.prototypes.T for x in z)
    ]
    terms = [
        nn.functional.cross_entropy(z[i] @ twin.prototypes.T / 0.1, codes[1 - i]) for i in (0, 1)
    ]
    (sum(terms) / 2).backward()
    for name, value in gradients(twin).items():
        torch.testing.assert_close(gradients(method)[name], value, rtol=1e-7, atol=1e-10)
    scores = torch.randn(4, 3, requires_grad=True)
    assert not rho_swav.sinkhorn(scores, 0.05, 3).requires_grad


@pytest.mark.parametrize("rho", [1, 3])
@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
def test_sequential_and_parallel_have_the_same_gradients_and_state(rho, name):
    batch, video = clips(max(rho, 2), dtype=torch.float64), torch.arange(5)
    sequential = filled(build(rho, name=name, code_queue=64, mode="sequential").double())
    parallel = copy.deepcopy(sequential)
    parallel.mode = "parallel"
    calls, outs = {}, []
    for method in (sequential, parallel):
        seen = calls.setdefault(method, [])
        outs.append(
            method.training_step(batch, video, lambda x, s=seen: s.append(x) or x.backward())
        )
    assert len(calls[sequential]) == max(rho, 2)
    assert len(calls[parallel]) == 1
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-12, atol=0)
    ours, theirs = gradients(sequential), gradients(parallel)
    assert ours.keys() == theirs.keys()
    largest = max(g.abs().max().item() for g in ours.values())
    assert largest > 1e-3
    for key, value in ours.items():
        assert (value - theirs[key]).abs().max().item() <= 1e-8 * largest, key
    for key, value in sequential.state_dict().items():
        torch.testing.assert_close(value, parallel.state_dict()[key], rtol=1e-12, atol=1e-15)


def test_sequential_works_under_autocast_and_close_to_full_precision():
    # no convolution: oneDNN's bfloat16 conv3d weight gradient is garbage for 2 frames (torch 2.14)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 16 * 16, 32), nn.BatchNorm1d(32))
    encoder.num_features = 32
    clip = schema.Clip(frames=8, stride=1, size=16)
    cast = rho_swav.build(params(mode="sequential", epsilon=0.5), 3, clip, encoder)
    full, parallel = copy.deepcopy(cast), copy.deepcopy(cast)
    parallel.mode = "parallel"
    batch, video, found = clips(3), torch.arange(5), []
    for method, enabled in ((full, False), (cast, True), (parallel, True)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = method.training_step(batch, video, backward)
        assert out["loss"].dtype == torch.float32
        grads = gradients(method)
        assert grads.keys() == {name for name, _ in method.named_parameters()}
        found.append((out["loss"].item(), torch.cat([g.flatten() for g in grads.values()])))
    (exact, wide), (loss, narrow), (_, together) = found
    assert loss == pytest.approx(exact, rel=0.02)
    assert torch.cosine_similarity(narrow, wide, dim=0) > 0.99
    torch.testing.assert_close(narrow, together, rtol=0.05, atol=0.02 * wide.abs().max().item())


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(mode):
    here = filled(build(3, mode=mode, code_queue=64).double())
    there = copy.deepcopy(here).cuda()
    batch, video = clips(3, dtype=torch.float64), torch.arange(5)
    a = here.training_step(batch, video, backward)
    b = there.training_step([c.cuda() for c in batch], video.cuda(), backward)
    for method in (here, there):
        method.after_step(0.5)
    torch.testing.assert_close({k: v.cpu() for k, v in b.items()}, a)
    state = {k: v.cpu() for k, v in there.state_dict().items()}
    torch.testing.assert_close(state, dict(here.state_dict()))


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
    monkeypatch.setattr(ranks, "gather", lambda x: sent.append(x.detach()) or sent[-1])
    whole = method.training_step(batch, video, backward)
    found = []
    for rank, half in enumerate(halves):
        rows, arrives = slice(3 * rank, 3 * rank + 3), iter(sent)

        def gather(x, rows=rows, arrives=arrives):
            everything = next(arrives)
            torch.testing.assert_close(everything[rows], x.detach())
            return everything

        monkeypatch.setattr(ranks, "gather", gather)
        monkeypatch.setattr(ranks, "share", lambda count, rows=rows: rows)
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
        ("task", "margin"),
    ],
)
def test_impossible_values_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        params(**{key: value})


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize("rho", [1, 2, 3])
@pytest.mark.parametrize("code_queue", [0, 96])
def test_overfits_sixteen_videos(rho, code_queue):
    method = build(rho, prototypes=16, frozen_prototypes=0.1, code_queue=code_queue)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    videos = torch.randn(16, 3, 8, 16, 16)
    for step in range(50):
        noisy = [videos + 0.5 * torch.randn_like(videos) for _ in range(max(rho, 2))]
        optimizer.zero_grad()
        out = method.training_step(noisy, torch.arange(16), backward)
        optimizer.step()
        method.after_step((step + 1) / 50)
    assert out["loss"] < 0.4 * math.log(16)
    assert out["code_accuracy"] > 0.8
