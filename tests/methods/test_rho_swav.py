import copy
import math

import pytest
import torch
from hypothesis import settings
from torch import nn

from support import pretext
from support.rho_modes import assert_modes_agree, clips
from support.swav_cases import MODES, backward, balanced, build, filled, gradients, params
from videossl.methods import losses, rho_swav
from videossl.study import schema

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


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
    method = filled(build(rho, name=name, code_queue=64, mode="sequential").double())
    assert_modes_agree(method, clips(max(rho, 2), dtype=torch.float64))


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


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize("rho", [1, 2, 3])
@pytest.mark.parametrize("code_queue", [0, 96])
def test_overfits_sixteen_videos(rho, code_queue):
    method = build(rho, prototypes=16, frozen_prototypes=0.1, code_queue=code_queue)
    videos = torch.randn(16, 3, 8, 16, 16)

    def batch_of(step):
        noisy = [videos + 0.5 * torch.randn_like(videos) for _ in range(max(rho, 2))]
        return noisy, pretext.NO_LABELS

    found = pretext.overfit(method, batch_of, 50)
    assert found["loss"][-1] < 0.4 * math.log(16)
    assert found["code_accuracy"][-1] > 0.8
