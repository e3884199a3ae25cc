import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import pretext
from support.specs import FLOW
from support.sts_cases import MIRRORS, SIZE, T, build, labelled, noise
from support.study import ROOT
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.fields import FACTORS, FIELDS, GEOMETRY
from videossl.data.loading.loader import Batch
from videossl.data.loading.sampling import ClipRequest
from videossl.job import UserError
from videossl.methods import sts_labels as labels
from videossl.methods.sts_labels import IGNORED, NAMES
from videossl.study import params

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


# ---------------------------------------------------------------------------------- the way here


@pytest.mark.parametrize("size", [16, 20, 21])
def test_labels_of_a_flipped_clip_are_mirrored(size):
    """From stored bytes on: frames and flow under a crop, and under the same crop flipped."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, T, 1, 8, 8, 3), np.uint8).repeat(3, 3).repeat(3, 4)
    arrows = rng.integers(1, 256, (16, T - 1, 2, 24, 24, 1), np.uint8)
    found = []
    for flip in (0.0, 1.0):
        draws = torch.zeros(16, FIELDS)
        draws[:, GEOMETRY] = torch.tensor([1, 2, 20, 18, flip])
        draws[:, FACTORS] = 1
        batch = Batch(
            [torch.from_numpy(x) for x in (coarse, coarse, arrows)],
            [draws] * 3,
            torch.arange(16),
            torch.zeros(16),
            [draws] * 3,
            torch.ones(16, T - 1),
            ["augmented", "plain", "motion"],
            FLOW,
        )
        found.append(labelled(to_device_clips(batch, size), batch.labels, levels=8))
    for straight, flipped in zip(*found, strict=True):
        for name in NAMES:
            a, b = straight[name], flipped[name]
            if IGNORED in (a, b):
                assert a == b, name
                assert name not in NAMES[: labels.MOTION]  # a tie of colours
            elif name.startswith("p_"):
                assert b == MIRRORS[int(name[-1])][a], name
            elif name.startswith("o_u"):  # u changes its sign: to the right as before, down not
                assert b == 7 - a, name
            elif name.startswith("o_v"):
                assert b == (3 - a) % 8, name
            else:
                assert a == b, name


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 300),
    frames=st.integers(2, 16),
    stride=st.integers(1, 5),
)
def test_requests_are_frames_plain_frames_and_the_flow_between(seed, num_frames, frames, stride):
    method = build(frames=frames, stride=stride)
    seen, plain, flow = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.kind for r in (seen, plain, flow)] == ["augmented", "plain", "motion"]
    assert [r.draw_id for r in (seen, plain, flow)] == [0, 0, 0]
    assert seen.frames.shape == (frames,)
    assert seen.frames.min() >= 0
    assert seen.frames.max() < num_frames
    np.testing.assert_array_equal(seen.frames, plain.frames)
    np.testing.assert_array_equal(seen.frames[1:], flow.frames)
    assert (seen.labels, plain.labels) == ((), ())
    assert len(flow.labels) == frames - 1
    for before, after, counts in zip(seen.frames, flow.frames, flow.labels, strict=False):
        assert counts == (before + stride == after)
    assert method.span == (frames - 1) * stride + 1
    if num_frames >= method.span:
        assert set(flow.labels) == {1.0}
    again = method.requests(np.random.default_rng(seed), num_frames)[2]
    np.testing.assert_array_equal(again.frames, flow.frames)


def test_sixteen_frames_have_fifteen_flows():
    method = build(frames=16)
    flow = method.requests(np.random.default_rng(0), 64)[2]
    assert isinstance(flow, ClipRequest)
    assert len(flow.frames) == len(flow.labels) == 15
    assert method.head.linear.out_features == sum(labels.classes(15)) == 246


def test_its_motion_must_be_flow():
    raw = params.read(ROOT / "params.yaml")
    raw["methods"]["sts"]["motion"] = "edges"
    with pytest.raises(UserError, match=r"methods.sts.motion = 'edges': .* flow; it has edges"):
        params.validate(raw, "params.yaml")
    raw["methods"]["sts"]["motion"] = "none"
    with pytest.raises(UserError, match=r"methods.sts.motion = 'none': must be .* content flow"):
        params.validate(raw, "params.yaml")
    raw["methods"]["sts"]["motion"] = "far"
    with pytest.raises(UserError, match=r"methods.sts.motion = 'far': must be an entry of motion"):
        params.validate(raw, "params.yaml")


# ------------------------------------------------------------------------------------ losses


def loss_written_out(method, clips, found):
    """Mean over the rows with a label, summed over labels; or mean over all labels."""
    features = method.encoder(clips[0])
    rows = (features @ method.head.linear.weight.T + method.head.linear.bias).tolist()
    classify = method.task.target == "classification"
    parts = []
    for names in (NAMES[: labels.MOTION], NAMES[labels.MOTION :]):
        terms = []
        for name in names:
            column = NAMES.index(name)
            counts = labels.classes(method.clip.frames - 1)
            start = sum(counts[:column])
            each = []
            for row, wanted in zip(rows, found, strict=True):
                label = wanted[name]
                if label == IGNORED:
                    continue
                if classify:
                    logits = row[start : start + counts[column]]
                    each.append(math.log(sum(map(math.exp, logits))) - logits[label])
                else:
                    each.append((row[column] - (label + 1)) ** 2)
            terms.append(each)
        if classify:
            parts.append(sum(sum(each) / len(each) for each in terms if each))
        else:
            parts.append(sum(map(sum, terms)) / sum(map(len, terms)))
    return method.task.motion_weight * parts[0] + method.task.appearance_weight * parts[1]


@pytest.mark.parametrize("target", ["classification", "regression"])
def test_loss_equals_the_equations(target):
    method = build(target=target, motion_weight=0.7, appearance_weight=0.3).double()
    clips, shown = noise()
    clips = [clip.double() for clip in clips]
    clips[2][1] = 0
    clips[1][2] = clips[1][2, :, :1]
    expected = loss_written_out(copy.deepcopy(method), clips, labelled(clips, shown))
    out = pretext.forward(method, clips, torch.arange(6), shown)
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_chance_values():
    method = build(frames=16)
    torch.nn.init.zeros_(method.head.linear.weight)
    torch.nn.init.zeros_(method.head.linear.bias)
    clips, shown = noise(frames=16, palette=4)
    out = pretext.forward(method, clips, torch.arange(6), shown)
    of_pattern = 2 * math.log(16) + 2 * math.log(4) + 8 * math.log(8)
    motion, appearance = of_pattern + 2 * math.log(15), of_pattern + math.log(8)
    assert out["motion_loss"].item() == pytest.approx(motion, rel=1e-5)
    assert out["appearance_loss"].item() == pytest.approx(appearance, rel=1e-5)
    assert out["loss"].item() == pytest.approx(motion + 0.1 * appearance, rel=1e-5)


@pytest.mark.parametrize("target", ["classification", "regression"])
def test_right_answers_cost_nothing(target):
    method = build(target=target)
    clips, shown = noise(batch=1)
    (found,) = labelled(clips, shown)
    method.eval()
    torch.nn.init.zeros_(method.head.linear.weight)
    torch.nn.init.zeros_(method.head.linear.bias)
    counts = labels.classes(T - 1)
    for column, name in enumerate(NAMES):
        if target == "classification":
            method.head.linear.bias.data[sum(counts[:column]) + found[name]] = 30.0
        else:
            method.head.linear.bias.data[column] = found[name] + 1
    out = pretext.forward(method, clips, torch.zeros(1), shown)
    assert out["loss"].item() < 1e-5
    assert out["motion_accuracy"].item() == out["appearance_accuracy"].item() == 1
    wrong = 10 if target == "classification" else 1
    method.head.linear.bias.data[sum(counts[:2]) if wrong == 10 else 2] += 40 * wrong
    if found["p_v_1"] != 0:
        out = pretext.forward(method, clips, torch.zeros(1), shown)
        assert out["motion_accuracy"].item() == pytest.approx(13 / 14)


@pytest.mark.parametrize("target", ["classification", "regression"])
@pytest.mark.parametrize("curriculum", [0.0, 0.5])
def test_static_clips_have_no_motion_loss_and_finite_gradients(target, curriculum):
    method = build(target=target, curriculum=curriculum)
    clips, shown = noise()
    clips[2].zero_()
    clips[1] = clips[1][:, :, :1].expand_as(clips[1])
    out = pretext.step(method, clips, torch.arange(6), lambda x: x.backward(), shown)
    assert out["motion_loss"].item() == out["motion_accuracy"].item() == 0
    assert out["appearance_loss"].item() > 0  # the clips' colours
    assert all(torch.isfinite(p.grad).all() for p in method.parameters())


@pytest.mark.parametrize("target", ["classification", "regression"])
def test_gradient_reaches_encoder_and_head_and_nothing_else(target):
    method = build(target=target)
    clips, shown = noise()
    clips = [clip.requires_grad_() for clip in clips]
    out = pretext.step(method, clips, torch.arange(6), lambda x: x.backward(), shown)
    assert not any(value.requires_grad for value in out.values())
    for name, parameter in method.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert clips[0].grad.abs().sum() > 0
    assert clips[1].grad is None
    assert clips[2].grad is None


@pytest.mark.parametrize(("off", "first"), [("motion_weight", True), ("appearance_weight", False)])
def test_weights_switch_a_family_off(off, first):
    method = build(target="regression", **{off: 0.0})
    clips, shown = noise()
    pretext.forward(method, clips, torch.arange(6), shown)["loss"].backward()
    moved = method.head.linear.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [not first] * 14 + [first] * 13


# -------------------------------------------------------------------------------- curriculum


def test_the_easier_half_comes_first():
    method = build(curriculum=0.4)
    clips, shown = noise(batch=7)
    found = labels.label(clips[2], shown, clips[1], method.patterns, 256, 1e-4)
    order = found.concentration.argsort(descending=True)
    easy, all_of_them = torch.zeros(7, dtype=torch.bool), torch.ones(7, dtype=torch.bool)
    easy[order[:4]] = True
    valid = found.values != IGNORED
    for progress, rows in ((0.0, easy), (0.39, easy), (0.4, all_of_them), (1.0, all_of_them)):
        method.after_step(progress)
        assert torch.equal(method._counted(found), valid & rows[:, None])
    without = build(curriculum=0.0)
    assert torch.equal(without._counted(found), valid)


def test_harder_clips_have_no_effect_on_the_loss_yet():
    method = build(curriculum=0.5).eval()  # BN's statistics would couple the rows
    clips, shown = noise()
    found = labels.label(clips[2], shown, clips[1], method.patterns, 256, 1e-4)
    hard = found.concentration.argsort()[:3]
    losses = []
    for _ in range(2):
        losses.append(pretext.forward(method, clips, torch.arange(6), shown)["loss"].item())
        clips[0][hard] = torch.randn_like(clips[0][hard])
    assert losses[0] == losses[1]
    method.after_step(0.5)
    assert pretext.forward(method, clips, torch.arange(6), shown)["loss"].item() != losses[0]


def test_progress_is_state():
    method = build(curriculum=0.5)
    method.after_step(0.75)
    other = build(curriculum=0.5)
    other.load_state_dict(method.state_dict())
    assert other.progress.item() == 0.75


# ------------------------------------------------------------------------------------ learning


def sprites(videos, size=SIZE, frames=T):
    """A bright square per video that jumps on a dark ground, with its flow."""
    rng = np.random.default_rng(0)
    colour = torch.from_numpy(rng.uniform(0, 60, (videos, 3, 1, size, size))).float()
    colour = colour.repeat(1, 1, frames, 1, 1)
    flow = torch.zeros(videos, 2, frames - 1, size, size)
    for video in range(videos):
        y, x = rng.integers(0, size - 8, 2)
        velocity = rng.choice([-2, -1, 1, 2], 2)
        for t in range(frames):
            top, left = y + max(velocity[1], 0) * t // 2, x + max(velocity[0], 0) * t // 2
            colour[video, :, t, top : top + 5, left : left + 5] = 220.0 + 4 * t
            if t:
                area = flow[video, :, t - 1, top : top + 5, left : left + 5]
                area[:] = torch.from_numpy(velocity).float()[:, None, None] * (1 + 0.2 * t)
    return [(colour / 255 - 0.45) / 0.225, colour, flow], torch.ones(videos, frames - 1)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["classification", "regression"])
def test_overfits_sixteen_videos(target):
    method = build(target=target)
    clips, shown = sprites(16)
    found = pretext.overfit(method, lambda step: (clips, shown), 150)
    last = {name: values[-3:].mean() for name, values in found.items()}
    assert last["loss"] < 0.3 * found["loss"][0]
    assert last["motion_accuracy"] > 0.8
