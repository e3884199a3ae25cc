import copy
import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from support import pretext
from support.specs import COLOURS, references
from videossl.methods import order_geometry
from videossl.models import resnet3d
from videossl.models.warp import affine, reach, warp
from videossl.study import schema

EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True)
TASK = {
    "frames": 4,
    "stride": 1,
    "rotation": 30.0,
    "scale": [0.8, 1.2],
    "shear": 15.0,
    "translation": 0.1,
}


def encoder():
    return resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS))


def build(frames=4, stride=1, clip_stride=2, task=None, **changes):
    params = {
        "task": "order",
        "motion": "none",
        "variant": "siamese",
        "shared": 3,
        "kept": "order",
        "hidden": 16,
        "transform_weight": 1.0,
        **references("order_geometry"),
    }
    limits = schema.Order(**{**TASK, "frames": frames, "stride": stride, **(task or {})})
    clip = schema.Clip(frames=8, stride=clip_stride, size=16)
    params = schema.OrderGeometry(**{**params, **changes})
    method = order_geometry.build(params, limits, clip, encoder())
    for head in (method.order_head, method.transform_head):  # as if some steps were done
        torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    return method


def clips(batch=6, frames=4, size=16):
    return [torch.randn(batch, 3, frames, size, size) for _ in range(2)]


def targets(batch=6, classes=12):
    labels = torch.randint(classes, (batch, 1)).float()
    return torch.cat([labels, torch.rand(batch, 5) * 2 - 1], dim=1)


# ------------------------------------------------------------------------------------ requests


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 90),
    frames=st.integers(3, 6),
    stride=st.integers(1, 3),
    clip_stride=st.integers(1, 4),
)
def test_requests_are_a_window_shuffled_and_in_order(seed, num_frames, frames, stride, clip_stride):
    method = build(frames=frames, stride=stride, clip_stride=clip_stride)
    shuffled, original = method.requests(np.random.default_rng(seed), num_frames)
    step = stride * clip_stride
    start = original.frames[0]
    expected = [(start + i * step) % num_frames for i in range(frames)]
    np.testing.assert_array_equal(original.frames, expected)
    assert method.span == (frames - 1) * step + 1
    assert (start + method.span <= num_frames) or num_frames < method.span
    assert sorted(shuffled.frames) == sorted(original.frames)
    assert shuffled.view == original.view  # one draw of crop and colour
    assert shuffled.kind == original.kind == "augmented"
    (label,), parameters = shuffled.target, original.target
    assert label in range(math.factorial(frames) // 2)
    assert len(parameters) == 5
    assert all(-1 <= value <= 1 for value in parameters)


def test_a_class_is_an_order_and_its_reverse_and_all_twelve_are_drawn_alike():
    method, rng = build(), np.random.default_rng(0)
    seen = {}
    for _ in range(4800):
        shuffled, original = method.requests(rng, 60)
        order = tuple(original.frames.tolist().index(frame) for frame in shuffled.frames)
        seen.setdefault(shuffled.target[0], []).append(order)
    assert sorted(seen) == list(range(12))
    together = [set(orders) for orders in seen.values()]
    for orders in together:
        assert len(orders) == 2
        one, other = orders
        assert one == other[::-1]
    assert set.union(*together) == set(permutations(range(4)))
    counts = [orders.count(order) for orders in seen.values() for order in set(orders)]
    assert 150 < min(counts) <= max(counts) < 250  # 200 expected, standard deviation 14


@pytest.mark.parametrize(("frames", "classes"), [(3, 3), (4, 12), (5, 60), (6, 360)])
def test_half_of_all_orders_are_classes(frames, classes):
    found = order_geometry.orders(frames)
    assert len(found) == classes == math.factorial(frames) // 2
    assert len({min(order, order[::-1]) for order in found}) == classes
    assert build(frames=frames).order_head.layers[-1].out_features == classes


def test_parameters_are_drawn_uniformly_apart_from_the_order():
    method, rng = build(), np.random.default_rng(0)
    rows = [sum((r.target for r in method.requests(rng, 60)), ()) for _ in range(3000)]
    values = np.array(rows)
    assert np.abs(values[:, 1:].mean(axis=0)).max() < 0.04  # standard deviation 0.011
    np.testing.assert_allclose(values[:, 1:].std(axis=0), 3**-0.5, atol=0.02)
    apart = np.abs(np.corrcoef(values.T) - np.eye(6))
    assert apart.max() < 0.07


# ------------------------------------------------------------------------------------ targets


def test_the_map_of_known_parameters():
    task = schema.Order(**TASK)
    parameters = torch.tensor([[1, 1, -1, 0.5, -1], [0, 0, 0, 0, 0], [-1, -1, 1, 1, 1]]).double()
    found = order_geometry.matrices(task, parameters)
    for (angle, size, slant, right, down), matrix in zip(
        [(30, 1.2, -15, 0.05, -0.1), (0, 1.0, 0, 0, 0), (-30, 0.8, 15, 0.1, 0.1)],
        found,
        strict=True,
    ):
        c, s = size * math.cos(math.radians(angle)), size * math.sin(math.radians(angle))
        k = math.tan(math.radians(slant))
        expected = [[c, c * k - s, 2 * right], [s, s * k + c, 2 * down], [0, 0, 1]]
        torch.testing.assert_close(matrix, torch.tensor(expected).double())


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    rotation=st.floats(1, 180),
    scale=st.lists(st.floats(0.4, 2), min_size=2, max_size=2, unique=True).map(sorted),
    shear=st.floats(1, 50),
    translation=st.floats(0.01, 0.5),
)
def test_no_drawn_map_shows_a_border(seed, rotation, scale, shear, translation):
    limits = {"rotation": rotation, "scale": scale, "shear": shear, "translation": translation}
    method = build(task=limits)
    rng = np.random.default_rng(seed)
    drawn = torch.tensor([method.requests(rng, 60)[1].target for _ in range(30)])
    drawn[20:] = drawn[20:].sign()  # at the limits
    maps = order_geometry.matrices(method.task, drawn.double())
    assert reach(maps).max() <= method.zoom * (1 + 1e-6)
    ways = method._both_ways(torch.ones(30, 3, 4, 8, 8), maps.float())
    torch.testing.assert_close(ways, torch.ones(60, 3, 4, 8, 8), atol=1e-4, rtol=0)


def magnified(method, clip):
    """What the original becomes."""
    still = affine(*torch.tensor([[0.0], [1], [0]]), torch.zeros(1, 2)).expand(6, 3, 3).double()
    return warp(clip, still, method.zoom)


def joined(method, clip, maps):
    """Every second frame magnified, then the same transformed, backwards; frame by frame."""
    before, after = magnified(method, clip), warp(clip, maps, method.zoom)
    return torch.stack([before[:, :, 0], before[:, :, 2], after[:, :, 2], after[:, :, 0]], dim=2)


def test_both_ways_of_a_clip():
    method, clip = build().double(), clips()[0].double()
    maps = order_geometry.matrices(method.task, torch.rand(6, 5).double())
    expected = joined(method, clip, maps)
    ways = method._both_ways(clip, maps)
    torch.testing.assert_close(ways, torch.cat([expected, expected.flip(2)]))


@pytest.mark.parametrize("variant", ["siamese", "disentangled"])
def test_the_heads_see_nothing_of_what_changes_nothing(variant):
    method = build(variant=variant).double()
    identity, seen = torch.eye(3).double().expand(6, 3, 3), []
    clip = torch.randn(6, 3, 4, 16, 16).double()  # it moves
    for head in (method.order_head, method.transform_head):
        head.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_geometry, "matrices", lambda task, parameters: identity)
        pretext.forward(
            method, [clip, clip], torch.arange(6), targets().double()
        )  # and is in order
    for features in seen:
        assert features.shape == (6, 32 if variant == "siamese" else 16)
        torch.testing.assert_close(features, torch.zeros_like(features))


# ------------------------------------------------------------------------------------ loss


def written_out(logits, predicted, target, weight):
    """Cross entropy and smooth L1 in plain numbers: (loss, order loss, transform loss)."""
    order = transform = 0.0
    for row, guess, (label, *parameters) in zip(logits, predicted, target, strict=True):
        order += math.log(sum(math.exp(x) for x in row)) - row[int(label)]
        for found, wanted in zip(guess, parameters, strict=True):
            off = abs(found - wanted)
            transform += (off**2 / 2 if off < 1 else off - 0.5) / 5
    order, transform = order / len(target), transform / len(target)
    return order + weight * transform, order, transform


@pytest.mark.parametrize("variant", ["siamese", "disentangled"])
@pytest.mark.parametrize("kept", ["order", "transform"])
def test_loss_equals_the_equations(variant, kept):
    method = build(variant=variant, kept=kept, transform_weight=0.3).double()
    torch.nn.init.normal_(method.transform_head.layers[-1].bias, std=1.5)  # both sides of 1
    (shuffled, original), target = [c.double() for c in clips()], targets().double()
    twin = copy.deepcopy(method)
    maps = order_geometry.matrices(twin.task, target[:, 1:])
    if variant == "siamese":
        streams = (twin.encoder, twin.other)
        f, g = streams if kept == "order" else streams[::-1]
        both = f(torch.cat([shuffled, original]))
        order = both[:6] - both[6:]
        clip = joined(twin, original, maps)
        both = g(torch.cat([clip, clip.flip(2)]))
        transform = both[:6] - both[6:]
    else:
        changed = warp(shuffled, maps, twin.zoom)
        both = twin.encoder(torch.cat([changed, magnified(twin, original)]))
        order = both[:6, :16] - both[6:, :16]
        transform = both[:6, 16:] - both[6:, 16:]
    logits, predicted = twin.order_head(order), twin.transform_head(transform)
    expected = written_out(logits.tolist(), predicted.tolist(), target.tolist(), 0.3)
    out = pretext.forward(method, [shuffled, original], torch.arange(6), target)
    for name, value in zip(("loss", "order_loss", "transform_loss"), expected, strict=True):
        assert out[name].item() == pytest.approx(value, rel=1e-6), name
    hits = [
        int(np.argmax(x)) == y[0] for x, y in zip(logits.tolist(), target.tolist(), strict=True)
    ]
    assert out["order_accuracy"].item() == pytest.approx(np.mean(hits))
    error = (predicted - target[:, 1:]).abs().mean().item()
    assert out["transform_error"].item() == pytest.approx(error)


def test_training_starts_at_chance():
    params, task = build().params, schema.Order(**TASK)
    clip = schema.Clip(frames=8, stride=2, size=16)
    method = order_geometry.build(params, task, clip, encoder())
    parameters = torch.linspace(-1, 1, 1001)[:, None].expand(-1, 5)
    target = torch.cat([torch.arange(1001)[:, None] % 12, parameters], dim=1)
    out = pretext.forward(
        method, [torch.randn(1001, 3, 4, 2, 2) for _ in range(2)], torch.arange(1001), target
    )
    assert out["order_loss"].item() == pytest.approx(math.log(12), rel=1e-6)
    assert out["transform_loss"].item() == pytest.approx(1 / 6, rel=3e-3)
    assert out["transform_error"].item() == pytest.approx(1 / 2, rel=3e-3)


def test_losses_are_float32_under_autocast():
    method = build()
    with torch.autocast("cpu", torch.bfloat16):
        out = pretext.forward(method, clips(), torch.arange(6), targets())
    assert out["loss"].dtype == torch.float32


def test_metrics_carry_no_gradient_and_one_step_calls_backward_once():
    method, seen = build(), []
    out = pretext.step(method, clips(), torch.arange(6), seen.append, targets())
    assert len(seen) == 1
    assert seen[0].requires_grad
    assert not any(value.requires_grad for value in out.values())
    out = pretext.forward(method, clips(), torch.arange(6), targets())
    assert [name for name, value in out.items() if value.requires_grad] == ["loss"]


# ------------------------------------------------------------------------------------ streams


def gradients(method, loss):
    out = {}
    for name, part in method.named_children():
        found = torch.autograd.grad(
            loss, list(part.parameters()), retain_graph=True, allow_unused=True
        )
        out[name] = [g is not None and bool(g.abs().sum() > 0) for g in found]
    return out


@pytest.mark.parametrize("kept", ["order", "transform"])
def test_each_loss_reaches_its_own_stream_and_what_is_shared(kept):
    method = build(kept=kept, transform_weight=0.0)
    target = targets()
    alone = gradients(method, pretext.forward(method, clips(), torch.arange(6), target)["loss"])
    first, second = ("encoder", "other") if kept == "order" else ("other", "encoder")
    assert all(alone[first])
    assert all(alone["order_head"])
    assert not any(alone["transform_head"])
    own = {id(p) for p in getattr(method, second).layer4.parameters()}
    for parameter, reached in zip(getattr(method, second).parameters(), alone[second], strict=True):
        assert reached == (id(parameter) not in own)
    method.params = method.params.model_copy(update={"transform_weight": 1.0})
    everything = gradients(
        method, pretext.forward(method, clips(), torch.arange(6), target)["loss"]
    )
    assert all(all(reached) for reached in everything.values())


def test_halves_of_one_network_serve_one_task_each():
    method = build(variant="disentangled")
    assert not hasattr(method, "other")
    features = torch.randn(12, 32, requires_grad=True)
    method.encoder.forward = lambda clip: features
    out = pretext.forward(method, clips(), torch.arange(6), targets())
    (both,) = torch.autograd.grad(out["loss"], features, retain_graph=True)
    assert both.abs().sum(dim=0).min() > 0
    method.params = method.params.model_copy(update={"transform_weight": 0.0})
    out = pretext.forward(method, clips(), torch.arange(6), targets())
    (alone,) = torch.autograd.grad(out["loss"], features)
    assert alone[:, :16].abs().sum() > 0
    assert alone[:, 16:].abs().sum() == 0


def test_other_rows_play_no_part_but_in_batch_norm():
    method = build().eval()
    batch, target = clips(), targets()
    video, together = (
        torch.arange(6),
        pretext.forward(method, batch, torch.arange(6), target)["loss"],
    )
    halves = [
        pretext.forward(method, [c[rows] for c in batch], video[rows], target[rows])["loss"]
        for rows in (slice(3), slice(3, 6))
    ]
    torch.testing.assert_close(together, torch.stack(halves).mean())


def test_a_scale_that_is_no_range_is_refused():
    with pytest.raises(ValidationError, match=r"scale = \[1\.2, 0\.8\]: must be \[low, high\]"):
        schema.Order(**{**TASK, "scale": [1.2, 0.8]})
    with pytest.raises(ValidationError, match="frames"):
        schema.Order(**{**TASK, "frames": 2})


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["siamese", "disentangled"])
def test_overfits_sixteen_videos(variant):
    method = build(variant=variant)
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    coarse = torch.randn(16, 3, 24, 4, 4, generator=generator)
    videos = torch.nn.functional.interpolate(coarse, size=(24, 16, 16), mode="trilinear")
    requests = [method.requests(rng, 24) for _ in range(16)]
    batch = [
        torch.stack(
            [
                video[:, torch.from_numpy(row[k].frames)]
                for video, row in zip(videos, requests, strict=True)
            ]
        )
        for k in range(2)
    ]
    target = torch.tensor([sum((r.target for r in row), ()) for row in requests])
    found = pretext.overfit(method, lambda step: (batch, target), 60)
    last = {name: values[-3:].mean() for name, values in found.items()}
    assert last["order_loss"] < 0.3 * math.log(12)
    assert last["order_accuracy"] > 0.9
    assert last["transform_loss"] < 0.3 / 6
    assert last["transform_error"] < 0.3
