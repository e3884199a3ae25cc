import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from support import pretext
from support.specs import COLOURS, references
from videossl.methods import losses, modist
from videossl.models import resnet3d
from videossl.study import schema

EXAMPLES = settings(max_examples=30, deadline=None, derandomize=True)
TASK = {
    "cross_negatives": "query",
    "visual_weight": 1.0,
    "motion_weight": 1.0,
    "cross_weight": 1.0,
    "threshold": 0.02,
}
VISUAL_ONLY = {"motion_weight": 0.0, "cross_weight": 0.0}
VIDEO = torch.tensor([0, 5, 63, 100, 41, 7])
LOSSES = ("visual", "motion", "cross")
STILL = (1, 4)  # rows of `clips` whose motion query, or key, hardly moves


def build(frames=4, stride=1, task=None, **changes):
    params = {
        "task": "distillation",
        "motion": "edges",
        "motion_depth": 18,
        "motion_width": 2,
        "dim": 16,
        "hidden": 16,
        "temperature": 0.1,
        "queue": 64,
        "momentum": 0.9,
        **references("modist"),
    }
    encoder = resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS))
    clip = schema.Clip(frames=frames, stride=stride, size=16)
    spec = schema.Distillation(**{**TASK, **(task or {})})
    return modist.build(schema.MoDist(**{**params, **changes}), spec, clip, encoder)


def clips(batch=6, frames=4, size=16, still=()):
    """Query and key of frames, query and key of motion."""
    frame = [torch.randn(batch, 3, frames, size, size) for _ in range(2)]
    motion = [torch.rand(batch, 1, frames, size, size) for _ in range(2)]
    for which, row in enumerate(still):
        motion[which % 2][row] *= 0.02
    return frame + motion


def banks(method):
    return [method.queue, method.motion_queue] if method.two else [method.queue]


def filled(method, videos=1000):
    for bank in banks(method):
        bank.keys.copy_(losses.normalize(torch.randn_like(bank.keys)))
        bank.videos.copy_(torch.arange(len(bank.videos)) + videos)
    return method


# ------------------------------------------------------------------------------------ requests


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 200),
    frames=st.integers(2, 16),
    stride=st.integers(1, 8),
    visual_only=st.booleans(),
)
def test_requests_are_windows_of_their_own(seed, num_frames, frames, stride, visual_only):
    method = build(frames, stride, VISUAL_ONLY if visual_only else None)
    found = method.requests(np.random.default_rng(seed), num_frames)
    kinds = ["augmented"] * 2 if visual_only else ["augmented"] * 2 + ["motion"] * 2
    assert [r.kind for r in found] == kinds
    assert [r.view for r in found] == list(range(len(kinds)))
    assert method.span == (frames - 1) * stride + 1
    for r in found:
        assert r.target == ()
        assert r.frames.shape == (frames,)
        assert r.frames.dtype == np.int64
        assert 0 <= r.frames.min() <= r.frames.max() < num_frames
        steps = np.diff(r.frames)
        assert np.all(steps % num_frames == stride % num_frames)
        if num_frames >= method.span:
            assert np.all(steps == stride)


def test_windows_are_uniform_and_nothing_synchronises_them():
    method = build(frames=4, stride=2)  # spans 7 frames of 40: starts 0 to 33
    rng = np.random.default_rng(0)
    starts = np.array([[r.frames[0] for r in method.requests(rng, 40)] for _ in range(4000)])
    assert starts.min() == 0
    assert starts.max() == 33
    for column in starts.T:
        assert np.bincount(column, minlength=34).min() > 75  # 118 expected, deviation 11
    correlation = np.corrcoef(starts.T)[~np.eye(4, dtype=bool)]
    assert np.abs(correlation).max() < 0.06


# ------------------------------------------------------------------------------------ losses


def written_out(method, batch, video):
    """The three losses in plain numbers, from the networks' outputs."""
    tau, gamma = method.params.temperature, method.task.threshold

    def unit(rows):
        return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows.tolist()]

    vq = unit(method.head(method.encoder(batch[0])))
    vk = unit(method.target(batch[1]))
    mq = unit(method.motion_head(method.motion(batch[2])))
    mk = unit(method.motion_target(batch[3]))
    vn, mn = (
        list(zip(bank.keys.tolist(), bank.videos.tolist(), strict=True)) for bank in banks(method)
    )

    def similar(a, b):
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / tau)

    def instance(query, key, bank, row):
        owner = int(video[row])
        minus = sum(similar(query[row], n) for n, whose in bank if whose not in (-1, owner))
        plus = similar(query[row], key[row])
        return -math.log(plus / (plus + minus))

    def mean(values, rows):
        return sum(values(row) for row in rows) / len(rows)

    every = range(len(video))
    moving = []
    for row in every:
        levels = [sum(m[row].flatten().tolist()) / m[row].numel() for m in batch[2:]]
        if min(levels) > gamma:
            moving.append(row)
    printed = method.task.cross_negatives == "query"
    first, second = (vn, mn) if printed else (mn, vn)
    return {
        "visual_loss": mean(lambda row: instance(vq, vk, vn, row), every),
        "motion_loss": mean(lambda row: instance(mq, mk, mn, row), moving),
        "cross_loss": mean(
            lambda row: instance(vq, mk, first, row) + instance(mq, vk, second, row), moving
        ),
        "moving": len(moving) / len(video),
    }


@pytest.mark.parametrize("cross_negatives", ["query", "key"])
@pytest.mark.parametrize("still", [(), STILL])
def test_losses_equal_the_equations(cross_negatives, still):
    weights = {"visual_weight": 0.7, "motion_weight": 3.0, "cross_weight": 0.4}
    method = filled(build(task={"cross_negatives": cross_negatives, **weights}).double(), videos=0)
    method.queue.videos[40:50] = -1
    method.motion_queue.videos[10:45] = -1
    batch = [c.double() for c in clips(still=still)]
    expected = written_out(copy.deepcopy(method), batch, VIDEO)
    out = method(batch, VIDEO)
    for name, value in expected.items():
        assert out[name].item() == pytest.approx(value, rel=1e-6), name
    total = sum(weights[f"{part}_weight"] * expected[f"{part}_loss"] for part in LOSSES)
    assert out["loss"].item() == pytest.approx(total, rel=1e-6)


def test_the_two_readings_of_the_cross_loss_differ_in_its_negatives_only():
    batch = clips()
    printed = filled(build(task={"cross_negatives": "query"}))
    usual = copy.deepcopy(printed)
    usual.task = schema.Distillation(**{**TASK, "cross_negatives": "key"})
    a, b = (method(batch, torch.arange(6)) for method in (printed, usual))
    assert a["cross_loss"].item() != pytest.approx(b["cross_loss"].item(), rel=1e-3)
    for name in ("visual_loss", "motion_loss", "cross_similarity"):
        assert a[name].item() == b[name].item()


@pytest.mark.parametrize("cross_negatives", ["query", "key"])
def test_chance_values(cross_negatives):
    method = filled(build(task={"cross_negatives": cross_negatives}))
    for head in (method.target.head, method.motion_target.head):
        torch.nn.init.zeros_(head.layers[-1].weight)
        torch.nn.init.ones_(head.layers[-1].bias)
    for bank in banks(method):
        bank.keys.fill_(16**-0.5)  # every key of every video and kind is the same
    out = method(clips(), torch.arange(6))
    chance = math.log(64 + 1)
    assert out["visual_loss"].item() == pytest.approx(chance, rel=1e-5)
    assert out["motion_loss"].item() == pytest.approx(chance, rel=1e-5)
    assert out["cross_loss"].item() == pytest.approx(2 * chance, rel=1e-5)


@pytest.mark.parametrize("bank", [0, 1])
@pytest.mark.parametrize("own", [True, False])
def test_a_videos_own_keys_never_push_it_away(own, bank):
    method = filled(build())
    banks(method)[bank].videos[:40] = 3 if own else 4
    batch, video = clips(), torch.full((6,), 3)
    moved = copy.deepcopy(method)
    banks(moved)[bank].keys[:40] = losses.normalize(torch.randn(40, 16))
    same = method(batch, video)["loss"].item() == moved(batch, video)["loss"].item()
    assert same == own


def test_similarities_are_those_of_the_moving_rows():
    method = filled(build())
    batch = clips(still=STILL)
    query = losses.normalize(method.head(method.encoder(batch[0])))
    motion_query = losses.normalize(method.motion_head(method.motion(batch[2])))
    key = losses.normalize(method.motion_target(batch[3]))
    rows = [0, 2, 3, 5]
    out = method(batch, VIDEO)
    expected = (motion_query * key).sum(1)[rows].mean().item()
    assert out["motion_similarity"].item() == pytest.approx(expected, abs=1e-5)
    expected = (query * key).sum(1)[rows].mean().item()
    assert out["cross_similarity"].item() == pytest.approx(expected, abs=1e-5)


# ------------------------------------------------------------------------------------ stillness


def test_the_threshold_is_on_the_mean_of_each_motion_clip():
    method = build(task={"threshold": 0.25})
    batch = clips(4)
    levels = torch.tensor([[0.25, 0.26, 1.0, 0.3], [1.0, 0.26, 0.2, 0.3]])
    for motion, level in zip(batch[2:], levels, strict=True):
        motion.copy_(level.view(4, 1, 1, 1, 1).expand_as(motion))
    out = method(batch, torch.arange(4))
    assert out["moving"].item() == 0.5
    # what a key's clip shows decides whether it is a negative of others
    assert method.motion_queue.videos[:4].tolist() == [0, 1, -1, 3]
    assert method.queue.videos[:4].tolist() == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------ state


def test_banks_get_their_kinds_keys_and_wrap():
    method = build(queue=16)
    for step in range(3):
        batch, video = clips(), torch.arange(6) + 20 * step
        before = copy.deepcopy(method)
        method(batch, video)
        rows = (torch.arange(6) + 6 * step) % 16
        networks = (before.target, before.motion_target)
        for bank, network, clip in zip(banks(method), networks, (batch[1], batch[3]), strict=True):
            expected = losses.normalize(network(clip))
            torch.testing.assert_close(bank.keys[rows], expected)
            assert bank.videos[rows].tolist() == video.tolist()
            assert int(bank.pointer) == 6 * (step + 1) % 16
    assert method.motion_queue.videos[:3].tolist() == [44, 45, 2]  # the third batch came around


def test_gradient_reaches_both_pathways_but_no_target_and_no_bank():
    method = filled(build())
    seen = []
    out = method.training_step(clips(), torch.arange(6), lambda x: seen.append(x) or x.backward())
    assert len(seen) == 1
    assert not any(value.requires_grad for value in out.values())
    for module in (method.encoder, method.head, method.motion, method.motion_head):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    for target in (method.target, method.motion_target):
        assert all(p.grad is None and not p.requires_grad for p in target.parameters())
    assert not any(b.requires_grad for bank in banks(method) for b in bank.buffers())


def test_the_cross_loss_alone_teaches_both_pathways():
    method = filled(build(task={"visual_weight": 0.0, "motion_weight": 0.0}))
    method(clips(), torch.arange(6))["loss"].backward()
    for net in (method.encoder, method.motion):
        assert sum(p.grad.abs().sum() for p in net.parameters()) > 0


def test_without_the_cross_loss_motion_does_not_reach_the_encoder():
    method = filled(build(task={"cross_weight": 0.0}))
    batch = clips()
    other = copy.deepcopy(method)
    for each, motion in ((method, batch[2:]), (other, clips()[2:])):
        each(batch[:2] + motion, torch.arange(6))["loss"].backward()
    for a, b in zip(method.encoder.parameters(), other.encoder.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_targets_follow_with_constant_momentum():
    method = build(momentum=0.75)
    pairs = [
        (method.target, (method.encoder, method.head)),
        (method.motion_target, (method.motion, method.motion_head)),
    ]
    before = [[p.clone() for p in target.parameters()] for target, _ in pairs]
    online = [[p for module in modules for p in module.parameters()] for _, modules in pairs]
    for parameter in [*online[0], *online[1]]:
        parameter.data.add_(1.0)
    method.after_step(0.9)
    for (target, _), old, own in zip(pairs, before, online, strict=True):
        for a, b, new in zip(old, own, target.parameters(), strict=True):
            torch.testing.assert_close(new, 0.75 * a + 0.25 * b)


def test_without_the_losses_of_motion_it_is_momentum_contrast_on_frames():
    both = filled(build().double(), videos=0)
    alone = build(task=VISUAL_ONLY).double()
    assert not any("motion" in name for name in alone.state_dict())
    shared = {name: both.state_dict()[name] for name in alone.state_dict()}
    alone.load_state_dict(shared)
    batch = [c.double() for c in clips()]
    expected = written_out(both, batch, VIDEO)["visual_loss"]
    seen = []
    out = alone.training_step(batch[:2], VIDEO, lambda x: seen.append(x) or x.backward())
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert out["visual_loss"].item() == out["loss"].item()
    assert not any("motion" in name or "cross" in name for name in out)
    assert all(p.grad.abs().sum() > 0 for p in alone.encoder.parameters())
    alone.after_step(0.5)


# ------------------------------------------------------------------------------------ parameters


def test_an_encoder_that_nothing_teaches_is_refused():
    with pytest.raises(ValidationError, match="visual_weight = 0 and cross_weight = 0"):
        schema.Distillation(**{**TASK, "visual_weight": 0.0, "cross_weight": 0.0})


def test_it_needs_motion():
    with pytest.raises(ValidationError, match="motion = 'none': must be an entry of motion"):
        build(motion="none")


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
def test_overfits_sixteen_videos():
    method = build(queue=48, motion_width=4, task={"cross_negatives": "key"})
    texture = torch.rand(16, 3, 1, 16, 16).expand(-1, -1, 4, -1, -1) * 2 - 1
    edges = torch.rand(16, 1, 1, 16, 16).expand(-1, -1, 4, -1, -1)

    def batch_of(step):
        frames = [texture + 0.1 * torch.randn(16, 3, 4, 16, 16) for _ in range(2)]
        motion = [edges + 0.1 * torch.rand(16, 1, 4, 16, 16) for _ in range(2)]
        return frames + motion, pretext.NO_TARGET

    found = pretext.overfit(method, batch_of, 60)
    # the banks are full from the fourth step on
    early = {name: values[3:6].mean() for name, values in found.items()}
    last = {name: values[-3:].mean() for name, values in found.items()}
    for name in ("visual_loss", "motion_loss", "cross_loss"):
        assert last[name] < 0.6 * early[name], name
    assert last["instance_accuracy"] > 0.9
    assert last["cross_similarity"] > early["cross_similarity"] + 0.3
