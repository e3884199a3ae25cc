import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from support import pretext, rho_modes
from support.rho_modes import assert_modes_agree, built
from support.specs import references
from videossl.methods import rho_byol
from videossl.models.batchnorm import GroupedBatchNorm, apply_groups
from videossl.study import schema

MODES = ["sequential", "parallel"]
clips = partial(rho_modes.clips, dtype=torch.float64)


def build(rho=2, frames=8, stride=1, name="r3d", **changes):
    params = {
        "task": "rho",
        "motion": "none",
        "dim": 16,
        "projector_hidden": 24,
        "projector_layers": 2,
        "predictor_hidden": 20,
        "predictor_layers": 2,
        "batch_norm": True,
        "momentum": 0.9,
        "momentum_schedule": "cosine",
        "mode": "sequential",
        **references("rho_byol"),
    }
    found = schema.RhoBYOL(**{**params, **changes})
    return built(rho_byol, found, rho, frames, stride, name)


def apart(method):
    """The method with a target unlike the online networks, as after some training."""
    for parameter in method.target_encoder.parameters():
        parameter.add_(0.3 * parameter.std(correction=0) * torch.randn_like(parameter))
    return method


def online(method):
    return [
        (f"{part}.{name}", parameter)
        for part in ("encoder", "projector", "predictor")
        for name, parameter in getattr(method, part).named_parameters()
    ]


def gradients(method):
    return {name: parameter.grad.clone() for name, parameter in online(method)}


# ------------------------------------------------------------------------------------ loss


def squared_distance(a, b):
    """Of two vectors scaled to length 1, in plain numbers."""
    long, wide = math.hypot(*a), math.hypot(*b)
    return sum((x / long - y / wide) ** 2 for x, y in zip(a, b, strict=True))


def written_out(method, batch):
    """Eq. 2 times 2, with its constant, averaged over queries and keys of other clips."""
    queries = [method.predictor(method.projector(method.encoder(c))).tolist() for c in batch]
    keys = [method.target_encoder(c).tolist() for c in batch]
    terms = [
        squared_distance(queries[i][b], keys[j][b])
        for b in range(len(batch[0]))
        for i in range(len(batch))
        for j in range(len(batch))
        if i != j
    ]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_loss_equals_the_equation(rho, mode):
    method, batch = apart(build(rho, mode=mode).double()), clips(max(rho, 2))
    expected = written_out(copy.deepcopy(method), batch)
    out = method.training_step(batch, torch.arange(5), lambda x: x.backward())
    assert out["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert out["positive_similarity"].item() == pytest.approx(1 - expected / 2, rel=1e-9)
    assert out["loss"].item() > 0.1


def test_two_clips_are_symmetric_byol():
    method = apart(build(2).double())
    one, two = clips(2)
    twin = copy.deepcopy(method)
    query, other = (twin.predictor(twin.projector(twin.encoder(c))) for c in (one, two))
    cosine = torch.nn.CosineSimilarity(dim=1)
    sides = cosine(query, twin.target_encoder(two)) + cosine(other, twin.target_encoder(one))
    found = method([one, two], torch.arange(5))["loss"]
    torch.testing.assert_close(found, (2 - sides).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("angle", "loss"), [(0, 0.0), (60, 1.0), (90, 2.0), (180, 4.0)])
def test_loss_is_the_squared_chord_of_the_angle(angle, loss):
    turned = [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
    prediction = torch.tensor([[3.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
    targets = torch.tensor([[turned] * 3, [[-turned[1], turned[0]]] * 3]) * 7
    assert rho_byol.regression(prediction, targets).item() == pytest.approx(loss, abs=1e-6)


def test_chance_is_two():
    method = build(3, dim=512).double()
    with torch.no_grad():
        method.target_encoder.head.layers[-1].weight.normal_()
    out = method(clips(3, batch=16), torch.arange(16))
    assert out["loss"].item() == pytest.approx(2, abs=0.1)  # random directions in 512 dimensions


def test_other_videos_play_no_role():
    method, batch = apart(build(2, batch_norm=False).double().eval()), clips(2)
    method.target_encoder.eval()  # and no batch norm: what is left would be negatives
    whole = copy.deepcopy(method)(batch, torch.arange(5))["loss"]
    parts = [method([c[b : b + 1] for c in batch], torch.tensor([b]))["loss"] for b in range(5)]
    torch.testing.assert_close(whole, torch.stack(parts).mean(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_order_of_the_clips_does_not_matter(mode):
    method, batch, video = apart(build(3, mode=mode).double()), clips(3), torch.arange(5)
    a, b = (
        copy.deepcopy(method).training_step(x, video, lambda x: x.backward())["loss"]
        for x in (batch, [batch[2], batch[0], batch[1]])
    )
    torch.testing.assert_close(a, b, rtol=1e-10, atol=0)


# ------------------------------------------------------------------------------------ modes


@pytest.mark.parametrize("rho", [1, 2, 4])
@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
def test_sequential_and_parallel_have_the_same_gradients_and_state(rho, name):
    method = apart(build(rho, name=name).double())
    assert_modes_agree(method, clips(max(rho, 2)))


def test_sequential_holds_the_activations_of_one_clip():
    method, seen = build(3).float(), []
    method.encoder.register_forward_hook(lambda *_: seen.append("online"))

    def backward(loss):
        seen.append("backward")
        loss.backward()

    method.training_step(clips(3, dtype=torch.float32), torch.arange(5), backward)
    assert seen == ["online", "backward"] * 3


def test_works_under_autocast_and_close_to_full_precision():
    # no convolution: oneDNN's bfloat16 conv3d weight gradient is garbage for 2 frames (torch 2.14)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 16 * 16, 32), nn.BatchNorm1d(32))
    encoder.num_features = 32
    base = build(3)
    full = apart(rho_byol.build(base.params, 3, base.clip, encoder))
    cast, batch, found = copy.deepcopy(full), clips(3, dtype=torch.float32, batch=16), []
    for method, enabled in ((full, False), (cast, True)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = method.training_step(batch, torch.arange(16), lambda x: x.backward())
        assert out["loss"].dtype == torch.float32
        gradient = torch.cat([g.flatten() for g in gradients(method).values()])
        found.append((out["loss"].item(), gradient))
    (exact, wide), (loss, narrow) = found
    assert loss == pytest.approx(exact, rel=0.02)
    assert torch.cosine_similarity(narrow, wide, dim=0) > 0.98


# ------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradient_reaches_the_online_networks_only(mode, batch_norm):
    method = apart(build(3, mode=mode, batch_norm=batch_norm).double())
    out = method.training_step(clips(3), torch.arange(5), lambda x: x.backward())
    assert not any(value.requires_grad for value in out.values())
    found = gradients(method)
    if batch_norm:  # the predictor's first batch norm takes the projector's last bias away
        assert found.pop("projector.layers.3.bias").abs().max() < 1e-9
    for name, gradient in found.items():
        assert gradient.abs().sum() > 1e-9, name
    assert all(p.grad is None and not p.requires_grad for p in method.target_encoder.parameters())


def test_a_clips_gradient_is_that_of_its_prediction_alone():
    method = apart(build(2).double())
    one, two = clips(2)
    twin = copy.deepcopy(method)
    prediction = twin.predictor(twin.projector(twin.encoder(one.requires_grad_())))
    loss = rho_byol.regression(prediction, twin.target_encoder(two).unsqueeze(1)) / 2
    (expected,) = torch.autograd.grad(loss, one)
    method([one, two], torch.arange(5))["loss"].backward()
    assert expected.abs().sum() > 1e-6
    torch.testing.assert_close(one.grad, expected, rtol=1e-9, atol=1e-15)


def test_predictor_is_on_the_online_side_only():
    method, batch = apart(build(2).double()), clips(2)
    assert not any("predictor" in name for name, _ in method.target_encoder.named_modules())
    owned = sum(p.numel() for p in method.target_encoder.parameters())
    networks = (method.encoder, method.projector)
    assert owned == sum(p.numel() for network in networks for p in network.parameters())
    before = copy.deepcopy(method).target_encoder(batch[0])
    nn.init.zeros_(method.predictor.layers[-1].weight)
    torch.testing.assert_close(method.target_encoder(batch[0]), before)
    nn.init.ones_(method.predictor.layers[-1].bias)
    ones = torch.ones(5, 1, 16, dtype=torch.float64)
    keys = torch.stack([copy.deepcopy(method).target_encoder(c) for c in batch], dim=1)
    expected = rho_byol.regression(ones[:, 0], keys)
    torch.testing.assert_close(method(batch, torch.arange(5))["loss"], expected)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_heads_are_those_of_the_paper(batch_norm):
    sizes = {"dim": 256, "projector_hidden": 4096, "predictor_hidden": 4096}
    method = build(batch_norm=batch_norm, **sizes)

    def shapes(head):
        linear = [m for m in head.modules() if isinstance(m, nn.Linear)]
        return [(m.in_features, m.out_features) for m in linear]

    assert shapes(method.projector) == [(32, 4096), (4096, 256)]
    assert shapes(method.predictor) == [(256, 4096), (4096, 256)]
    if batch_norm:
        assert sum(p.numel() for p in method.predictor.parameters()) == 2_105_600
    for head in (method.projector, method.predictor):
        norms = [m for m in head.modules() if isinstance(m, nn.BatchNorm1d)]
        assert [m.num_features for m in norms] == [4096] * batch_norm


def test_batch_norm_of_the_heads_has_the_groups_of_the_backbones():
    method = build()
    apply_groups(method, 2, torch.device("cpu"), 4)
    norms = [m for m in method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(m, GroupedBatchNorm) for m in norms)
    for head in (method.projector, method.predictor, method.target_encoder.head):
        assert sum(isinstance(m, GroupedBatchNorm) for m in head.modules()) == 1


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "mode"), [(1, "parallel"), (2, "sequential"), (3, "parallel")])
def test_learns_sixteen_videos_without_collapse(rho, mode):
    method = build(rho, mode=mode, momentum=0.95)
    videos = torch.randn(16, 3, 8, 16, 16)
    batch = [videos + 0.3 * torch.randn_like(videos) for _ in range(max(rho, 2))]
    found = pretext.overfit(method, lambda step: (batch, pretext.NO_LABELS), 40, lr=1e-2)
    assert found["loss"][-1] < 0.3  # 2 at chance
    unit, other = (
        nn.functional.normalize(method.target_encoder(clip), dim=1) for clip in batch[:2]
    )
    similar = unit @ other.T
    between = (similar.sum() - similar.trace()) / (16 * 15)
    assert between < 0.5 < 0.8 < similar.trace() / 16  # all near 1 where all videos collapsed
    assert similar.argmax(dim=1).eq(torch.arange(16)).float().mean() > 0.8
