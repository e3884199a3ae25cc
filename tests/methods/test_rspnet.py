import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import pretext
from support.specs import COLOURS, references
from videossl.methods import losses, rspnet
from videossl.models import resnet3d
from videossl.study import schema

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


def build(margin=0.15, frames=8, stride=1, **changes):
    params = {
        "task": "margin",
        "motion": "none",
        "speeds": [1, 2],
        "dim": 16,
        "temperature": 0.07,
        "queue": 64,
        "momentum": 0.9,
        "appearance_weight": 1.0,
        "motion_weight": 1.0,
        "as_released": False,
        **references("rspnet"),
    }
    encoder = resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS))
    clip = schema.Clip(frames=frames, stride=stride, size=16)
    return rspnet.build(schema.RSPNet(**{**params, **changes}), margin, clip, encoder)


def clips(batch=6, frames=8, size=16, count=3):
    return [torch.randn(batch, 3, frames, size, size) for _ in range(count)]


def filled(method, videos=1000):
    method.queue.keys.copy_(losses.normalize(torch.randn_like(method.queue.keys)))
    method.queue.videos.copy_(torch.arange(len(method.queue.videos)) + videos)
    return method


# ------------------------------------------------------------------------------------ requests


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 300),
    frames=st.integers(2, 16),
    stride=st.integers(1, 4),
    speeds=st.lists(st.integers(1, 8), min_size=2, max_size=4, unique=True),
)
def test_requests_are_query_same_speed_other_speed(seed, num_frames, frames, stride, speeds):
    method = build(frames=frames, stride=stride, speeds=speeds)
    query, same, other = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.view for r in (query, same, other)] == [0, 1, 1]
    assert same.frames[0] == other.frames[0]
    for r in (query, same, other):
        assert r.frames.shape == (frames,)
        assert r.frames.dtype == np.int64
        assert r.frames.min() >= 0
        assert r.frames.max() < num_frames
    assert method.span == (frames - 1) * stride * max(speeds) + 1
    if num_frames >= method.span:  # no clip wraps, so steps can be read off
        steps = [np.unique(np.diff(r.frames)) for r in (query, same, other)]
        assert all(len(s) == 1 for s in steps)
        q, k, changed = (int(s[0]) // stride for s in steps)
        assert all(int(s[0]) % stride == 0 for s in steps)
        assert q == k != changed
        assert {q, changed} <= set(speeds)


def test_index_maps_of_the_paper_setting():
    method = build(frames=16)
    seen = set()
    for seed in range(20):
        query, same, other = method.requests(np.random.default_rng(seed), 31)  # one window fits
        one, two = np.arange(16), np.arange(0, 32, 2)
        fast = bool(query.frames[1] == 2)
        np.testing.assert_array_equal(query.frames, two if fast else one)
        np.testing.assert_array_equal(same.frames, two if fast else one)
        np.testing.assert_array_equal(other.frames, one if fast else two)
        seen.add(fast)
    assert seen == {True, False}


def test_speeds_are_drawn_uniformly_and_windows_independently():
    method = build(frames=4, speeds=[1, 2, 4])
    pairs, starts = [], []
    rng = np.random.default_rng(0)
    for _ in range(3000):
        query, same, other = method.requests(rng, 100)
        pairs.append((int(np.diff(query.frames)[0]), int(np.diff(other.frames)[0])))
        starts.append((query.frames[0], same.frames[0]))
    values, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(values) == 6
    assert counts.min() > 420  # 500 expected, standard deviation 20
    assert abs(np.corrcoef(np.array(starts).T)[0, 1]) < 0.06
    # where a clip starts does not tell its speed
    slow = np.array([s for s, (speed, _) in zip(starts, pairs, strict=True) if speed == 1])
    assert np.unique(slow).max() == 100 - method.span


def test_requests_depend_on_the_generator_alone():
    method = build()
    a, b = (method.requests(np.random.default_rng([3, 7]), 90) for _ in range(2))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.frames, y.frames)


# ------------------------------------------------------------------------------------ loss


def written_out(method, batch, video):
    """The loss in plain numbers, from the networks' outputs."""
    query, same, other = batch
    motion, appearance = method.heads(method.encoder(query)).tolist()
    (same_m, same_a), (other_m, other_a) = (method.target(c).tolist() for c in (same, other))
    tau, instance, speed = method.params.temperature, 0.0, 0.0
    queue = zip(method.queue.keys.tolist(), method.queue.videos.tolist(), strict=True)
    released = method.params.as_released
    queue = [(k, None if released else v) for k, v in queue if released or v >= 0]

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    for b, v in enumerate(video.tolist()):
        minus = sum(math.exp(dot(appearance[b], k) / tau) for k, owner in queue if owner != v)
        for key in (same_a[b], other_a[b]):
            plus = math.exp(dot(appearance[b], key) / tau)
            instance += -math.log(plus / (plus + minus))
        gap = dot(motion[b], same_m[b]) - dot(motion[b], other_m[b])
        speed += max(0.0, method.margin - gap)
    count = len(video)
    params = method.params
    return (params.appearance_weight * instance + params.motion_weight * speed) / count


@pytest.mark.parametrize("as_released", [False, True])
def test_loss_equals_the_equations(as_released):
    method = build(appearance_weight=0.7, motion_weight=3.0, as_released=as_released).double()
    filled(method, videos=0)
    method.queue.videos[40:50] = -1
    batch = [c.double() for c in clips()]
    video = torch.tensor([0, 5, 63, 100, 41, 7])
    expected = written_out(copy.deepcopy(method), batch, video)
    out = method(batch, video)
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_as_released_the_queue_is_full_of_random_keys_from_the_start():
    method = build(as_released=True)
    lengths = method.queue.keys.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(64))
    before = method(clips(), torch.arange(6))["appearance_loss"].item()
    assert before > math.log(65)  # chance; with an empty queue it is 0
    assert build()(clips(), torch.arange(6))["appearance_loss"].item() == 0


def test_chance_values():
    method = filled(build(margin=0.15))
    torch.nn.init.zeros_(method.target.head.motion.weight)
    torch.nn.init.zeros_(method.target.head.appearance.weight)
    method.queue.keys.copy_(losses.normalize(method.target.head.appearance.bias).expand(64, 16))
    out = method(clips(), torch.arange(6))  # every key of every video is the same
    assert out["appearance_loss"].item() == pytest.approx(2 * math.log(65), rel=1e-5)
    assert out["motion_loss"].item() == pytest.approx(0.15, abs=1e-6)


def test_a_perfect_speed_embedding_has_no_motion_loss():
    method = build(margin=0.15)
    batch = clips()
    batch[1] = batch[0]  # k+ is the query, k- is not
    method.heads.motion.bias.data.zero_()
    method.target.update(method.encoder, method.heads, 0.0)
    out = method(batch, torch.arange(6))
    assert out["positive_similarity"].item() == pytest.approx(1, abs=1e-5)
    assert out["speed_accuracy"].item() == 1


def test_gradient_reaches_encoder_and_both_heads_but_no_target_and_no_queue():
    method = filled(build(margin=2.0))
    seen = []
    out = method.training_step(clips(), torch.arange(6), lambda x: seen.append(x) or x.backward())
    assert len(seen) == 1
    assert not any(value.requires_grad for value in out.values())
    for name, parameter in [*method.encoder.named_parameters(), *method.heads.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    assert not any(b.requires_grad for b in method.queue.buffers())


def test_weights_switch_a_task_off():
    for off, head in (("motion_weight", "motion"), ("appearance_weight", "appearance")):
        method = filled(build(margin=2.0, **{off: 0.0}))
        method(clips(), torch.arange(6))["loss"].backward()
        assert getattr(method.heads, head).weight.grad.abs().sum() == 0


def test_queue_gets_the_appearance_of_the_other_speed():
    method = build()
    batch, video = clips(), torch.arange(6) + 20
    expected = copy.deepcopy(method).target(batch[2])[1]
    method(batch, video)
    torch.testing.assert_close(method.queue.keys[:6], expected)
    assert method.queue.videos[:6].tolist() == video.tolist()
    assert method.queue.videos[6:].eq(-1).all()


def test_target_follows_with_constant_momentum():
    method = build(momentum=0.75)
    before = [p.clone() for p in method.target.parameters()]
    for parameter in [*method.encoder.parameters(), *method.heads.parameters()]:
        parameter.data.add_(1.0)
    online = [*method.encoder.parameters(), *method.heads.parameters()]
    method.after_step(0.9)
    for old, new, target in zip(before, method.target.parameters(), online, strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * target)


@pytest.mark.parametrize("own", [True, False])
def test_a_videos_own_keys_never_push_it_away(own):
    method = filled(build())
    method.queue.videos[:40] = 3 if own else 4
    batch, video = clips(), torch.full((6,), 3)
    moved = copy.deepcopy(method)
    moved.queue.keys[:40] = losses.normalize(torch.randn(40, 16))
    same = method(batch, video)["loss"].item() == moved(batch, video)["loss"].item()
    assert same == own


# ------------------------------------------------------------------------------------ learning


def playing(video, speed, start, frames=8, size=16):
    """A drifting pattern per video, whose drift per frame grows with the playback speed."""
    g = torch.Generator().manual_seed(video)
    texture = torch.rand(3, size, size, generator=g) * 2 - 1
    shift = [(start + i) * speed for i in range(frames)]
    return torch.stack([texture.roll(s, dims=-1) for s in shift], dim=1)


def test_overfits_sixteen_videos():
    method = build(margin=1.0, queue=48, motion_weight=10.0)
    fast = torch.arange(16) % 2
    batch = [
        torch.stack([playing(v, 1 + 2 * int(f), start) for v, f in enumerate(speed)])
        for speed, start in ((fast, 0), (fast, 3), (1 - fast, 3))
    ]
    found = pretext.overfit(method, lambda step: (batch, pretext.NO_TARGET), 30)
    # the queue is full, so the appearance loss at its full height, from the fourth step on
    early = {name: values[3:6].mean() for name, values in found.items()}
    last = {name: values[-3:].mean() for name, values in found.items()}
    assert last["loss"] < 0.7 * early["loss"]
    assert last["appearance_loss"] < 0.8 * early["appearance_loss"]
    assert last["motion_loss"] < 0.4 * found["motion_loss"][0]
    assert last["speed_accuracy"] > 0.9
    assert last["instance_accuracy"] > 0.7
