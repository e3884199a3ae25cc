import copy
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from support import pretext
from support.specs import COLOURS, references
from videossl.job import UserError
from videossl.methods import hdc
from videossl.models import c3d, resnet3d
from videossl.study import schema
from videossl.train import monitor

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
WEIGHTS = {"spatial": [0.3, 0.5, 0.9], "temporal": [0.2, 0.7, 1.1]}


def hierarchy(weights="fixed", **lists):
    return schema.Hierarchy(weights=weights, **{**WEIGHTS, **lists})


def build(weights="fixed", frames=8, stride=1, net=None, lists=WEIGHTS, **changes):
    params = {
        "task": "hierarchy",
        "motion": "none",
        "dim": 8,
        "hidden": 12,
        "temperature": 0.2,
        **references("hdc"),
    }
    encoder = net or resnet3d.build(
        schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
    )
    clip = schema.Clip(frames=frames, stride=stride, size=16)
    return hdc.build(
        schema.HDC(**{**params, **changes}), hierarchy(weights, **lists), clip, encoder
    )


def clips(batch=6, frames=8, size=16, count=3):
    return [torch.randn(batch, 3, frames, size, size) for _ in range(count)]


def maps(batch=5, sides=(4, 2, 1), steps=(6, 3, 2)):
    """Of the last three stages of ``build``'s backbone."""
    sizes = zip((8, 16, 32), steps, sides, strict=True)
    return [torch.rand(batch, c, t, side, side, dtype=torch.float64) for c, t, side in sizes]


# ------------------------------------------------------------------------------------ requests


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 300),
    frames=st.integers(2, 16),
    stride=st.integers(1, 4),
)
def test_requests_are_one_window_twice_and_another(seed, num_frames, frames, stride):
    method = build(frames=frames, stride=stride)
    first, again, other = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.view for r in (first, again, other)] == [0, 1, 2]
    np.testing.assert_array_equal(first.frames, again.frames)
    assert method.span == (frames - 1) * stride + 1
    for r in (first, again, other):
        assert r.kind == "augmented"
        assert r.target == ()
        assert r.frames.shape == (frames,)
        assert r.frames.dtype == np.int64
        assert 0 <= r.frames.min() <= r.frames.max() < num_frames
        if num_frames >= method.span:
            assert set(np.diff(r.frames)) <= {stride}
        else:  # played in a loop, at its speed
            assert set(np.diff(r.frames) % num_frames) <= {stride % num_frames}


def test_windows_are_independent_and_reach_both_ends():
    method, rng = build(frames=4), np.random.default_rng(0)
    starts = []
    for _ in range(2000):
        first, _, other = method.requests(rng, 40)
        starts.append((first.frames[0], other.frames[0]))
    assert abs(np.corrcoef(np.array(starts).T)[0, 1]) < 0.07
    assert np.unique(starts).tolist() == list(range(37))


def test_only_what_a_weight_needs_is_asked_for():
    none = [0.0, 0.0, 0.0]
    spatial, temporal = build(lists={"temporal": none}), build(lists={"spatial": none})
    a, b = spatial.requests(np.random.default_rng(5), 90)
    np.testing.assert_array_equal(a.frames, b.frames)
    a, b = temporal.requests(np.random.default_rng(5), 90)
    assert a.frames[0] != b.frames[0]
    assert [a.view, b.view] == [0, 1]
    assert "spatial_loss" not in temporal(clips(count=2), torch.arange(6))
    assert "temporal_loss" not in spatial(clips(count=2), torch.arange(6))


# ------------------------------------------------------------------------------------ loss


def unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def nce(first, second, video, temperature):
    """Two views of one slot, lists of vectors: SimCLR's loss and the mean positive cosine."""
    views = [[unit(v) for v in view] for view in (first, second)]
    loss = 0.0
    for v in (0, 1):
        for b, query in enumerate(views[v]):
            plus = math.exp(dot(query, views[1 - v][b]) / temperature)
            minus = sum(
                math.exp(dot(query, views[w][j]) / temperature)
                for w in (0, 1)
                for j in range(len(video))
                if video[j] != video[b]
            )
            loss -= math.log(plus / (plus + minus))
    cosine = sum(dot(a, b) for a, b in zip(*views, strict=True)) / len(video)
    return loss / (2 * len(video)), cosine


def written_out(method, batch, video):
    """(loss, mean positive cosine) of each level: spatial and temporal, in plain loops."""
    net = copy.deepcopy(method.encoder)
    found = [net.stages(clip)[-method.depth :] for clip in batch]
    temperature, video = method.params.temperature, video.tolist()
    spatial, temporal = [], []
    for level in range(method.depth):
        one, two, three = (views[level] for views in found)
        if level in method.spatial.levels:
            head = method.spatial.heads[method.spatial.levels.index(level)]
            steps = []
            for t in range(one.shape[2]):
                a, b = (head(m[:, :, t].flatten(2).mean(2)).tolist() for m in (one, two))
                steps.append(nce(a, b, video, temperature))
            spatial.append(np.mean(steps, axis=0))
        if level in method.temporal.levels:
            head = method.temporal.heads[method.temporal.levels.index(level)]
            a, b = (head(m.flatten(2).mean(2)).tolist() for m in (one, three))
            temporal.append(nce(a, b, video, temperature))
    return spatial, temporal


@pytest.mark.parametrize("weights", ["fixed", "invariance"])
def test_loss_equals_the_equations(weights):
    lists = {"spatial": [0.3, 0.0, 0.9], "temporal": [0.2, 0.7, 1.1]}
    method = build(weights, lists=lists).double()
    batch = [c.double() for c in clips()]
    video = torch.tensor([0, 5, 63, 100, 41, 5])  # two rows of one video
    found = written_out(copy.deepcopy(method), batch, video)
    total = 0.0
    for parts, given_ in zip(found, ([0.3, 0.9], [0.2, 0.7, 1.1]), strict=True):
        cosines = [max(cosine, 1e-3) for _, cosine in parts]
        for (loss, _), cosine, weight in zip(parts, cosines, given_, strict=True):
            total += weight * loss * (cosine / max(cosines) if weights == "invariance" else 1)
    out = method(batch, video)
    assert out["loss"].item() == pytest.approx(total, rel=1e-6)
    assert out["spatial_loss"] + out["temporal_loss"] == pytest.approx(total, rel=1e-6)
    assert out["spatial_similarity_3"].item() == pytest.approx(found[0][1][1], rel=1e-6)
    assert out["temporal_similarity_1"].item() == pytest.approx(found[1][0][1], rel=1e-6)
    assert "spatial_similarity_2" not in out


def test_only_the_top_temporal_level_is_plain_simclr():
    lists = {"spatial": [0.0, 0.0], "temporal": [0.0, 1.0]}
    method = build(lists=lists).double()
    batch = [c.double() for c in clips(count=2)]
    (head,) = method.temporal.heads
    z = torch.nn.functional.normalize(torch.cat([head(method.encoder(c)) for c in batch]), dim=1)
    logits = (z @ z.T / 0.2).fill_diagonal_(-math.inf)  # 2N samples, 2N - 2 negatives of each
    partner = (torch.arange(12) + 6) % 12
    expected = torch.nn.functional.cross_entropy(logits, partner).item()
    out = method(batch, torch.arange(6))
    assert out["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert len(list(method.spatial.parameters())) == 0


def test_chance_values():
    method = build(lists={"spatial": [1.0, 1.0, 1.0], "temporal": [1.0, 1.0, 1.0]})
    for subtask in (method.spatial, method.temporal):
        for head in subtask.heads:
            torch.nn.init.zeros_(head.layers[-1].weight)
            torch.nn.init.ones_(head.layers[-1].bias)
    out = method(clips(), torch.arange(6))  # all embeddings are one: 1 positive, 10 negatives
    assert out["spatial_loss"].item() == pytest.approx(3 * math.log(11), rel=1e-5)
    assert out["temporal_loss"].item() == pytest.approx(3 * math.log(11), rel=1e-5)
    assert out["temporal_accuracy"].item() == 0


def test_the_order_of_time_is_spatial_contrasts_alone():
    method = build().double()
    first, second, video = maps(), maps(), torch.arange(5)

    def permuted(views):
        return [m[:, :, [*range(1, m.shape[2]), 0]] for m in views]

    def loss(subtask, pool, a, b):
        return subtask([pool(m) for m in a], [pool(m) for m in b], video)["loss"].item()

    for subtask, pool in ((method.spatial, hdc.pool_space), (method.temporal, hdc.pool_all)):
        plain = loss(subtask, pool, first, second)
        assert loss(subtask, pool, permuted(first), permuted(second)) == pytest.approx(plain)
        one = loss(subtask, pool, first, permuted(second))
        if subtask is method.spatial:
            assert abs(one - plain) > 1e-4
        else:
            assert one == pytest.approx(plain)


@pytest.mark.parametrize("own", [True, False])
def test_rows_of_one_video_never_push_each_other_away(own):
    first, second = torch.randn(2, 2, 4, 8, requires_grad=True).unbind()
    video = torch.tensor([3, 3 if own else 4])
    loss = hdc.contrast(first, second, video, 0.2)["loss"]
    assert loss.eq(0).all() == own  # no negative is left
    gradients = torch.autograd.grad(loss.sum(), (first, second))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.eq(0).all() == own for gradient in gradients)


def test_time_steps_and_levels_never_meet():
    first, second = torch.randn(2, 6, 4, 8).unbind()
    loss = hdc.contrast(first, second, torch.arange(6), 0.2)["loss"]
    for slot in range(4):
        moved = first.clone()
        moved[:, slot] = torch.randn(6, 8)
        again = hdc.contrast(moved, second, torch.arange(6), 0.2)["loss"]
        assert (loss != again).tolist() == [s == slot for s in range(4)]


def test_accuracy_counts_queries_whose_positive_is_nearest():
    eye = torch.eye(4).unsqueeze(1)
    out = hdc.contrast(eye, eye, torch.arange(4), 0.1)
    assert out["accuracy"].tolist() == [1.0]
    assert out["similarity"].tolist() == [1.0]
    second = eye[[1, 0, 2, 3]]  # rows 0 and 1 took each other's place, in both directions
    out = hdc.contrast(eye, second, torch.arange(4), 0.1)
    assert out["accuracy"].tolist() == [0.5]
    assert out["similarity"].tolist() == [0.5]


def test_a_dead_embedding_gets_a_bounded_gradient():
    first, second = torch.randn(2, 6, 1, 8).unbind()
    first[2] = 0
    first.requires_grad_()
    hdc.contrast(first, second, torch.arange(6), 0.2)["loss"].sum().backward()
    assert 0 < first.grad[2].norm() < 1 / hdc.LEAST_NORM / 0.2


def test_losses_are_wide_under_autocast():
    first, second = torch.randn(2, 6, 4, 8).bfloat16().unbind()
    expected = hdc.contrast(first.float(), second.float(), torch.arange(6), 0.07)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        found = hdc.contrast(first, second, torch.arange(6), 0.07)["loss"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@EXAMPLES
@given(cosines=st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_invariance_is_at_most_one_and_never_nothing(cosines):
    weights = hdc.invariance(torch.tensor(cosines, dtype=torch.float64))
    assert weights.max() == 1
    assert weights.min() > 0
    assert sorted(cosines) == [cosines[i] for i in np.lexsort((cosines, weights.tolist()))]


def test_invariance_weighs_but_has_no_gradient():
    method = build("invariance").double()
    batch, video = [c.double() for c in clips()], torch.arange(6)
    out = method(batch, video)
    out["loss"].backward()
    adaptive = [p.grad.clone() for p in method.parameters()]
    cosines = [
        torch.stack([out[f"{name}_similarity_{k}"] for k in (1, 2, 3)])
        for name in ("spatial", "temporal")
    ]
    fixed = copy.deepcopy(method)
    for subtask, cosine in zip((fixed.spatial, fixed.temporal), cosines, strict=True):
        subtask.adaptive = False
        subtask.weights *= cosine / cosine.max()
    fixed.zero_grad()
    fixed(batch, video)["loss"].backward()
    torch.testing.assert_close([p.grad for p in fixed.parameters()], adaptive)


def test_gradient_reaches_every_level_and_head():
    method = build()
    seen = []
    out = method.training_step(clips(), torch.arange(6), lambda x: seen.append(x) or x.backward())
    assert len(seen) == 1
    assert not any(value.requires_grad for value in out.values())
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# ------------------------------------------------------------------------------------ backbones


def test_levels_are_the_last_stages_of_any_backbone():
    net = c3d.build(schema.C3D(name="c3d", width=4, **COLOURS))
    method = build(net=net, lists={"spatial": [1.0, 1.0], "temporal": [1.0, 1.0]})
    for subtask in (method.spatial, method.temporal):
        found = [head.layers[0].in_features for head in subtask.heads]
        assert found == method.encoder.stage_features[-2:]
    assert method(clips(), torch.arange(6))["loss"].isfinite()


def test_the_features_can_be_watched():
    method = build()
    features = monitor.Features(method.encoder)
    batch = clips()
    method(batch, torch.arange(6))
    assert features.last.shape == (6, 32)
    torch.testing.assert_close(features.last, method.encoder(batch[2]).detach())


def test_more_levels_than_stages():
    five = {"spatial": [1.0] * 5, "temporal": [1.0] * 5}
    with pytest.raises(UserError, match=r"^task.hierarchy: 5 levels.* 4 stages; allowed: <= 4"):
        build(lists=five)


@pytest.mark.parametrize(
    ("lists", "line"),
    [
        ({"spatial": [1.0]}, "spatial = [1.0] and temporal = [0.2, 0.7, 1.1]: must be of equal"),
        ({"spatial": [0.0], "temporal": [0.0]}, "must hold a weight > 0"),
        ({"spatial": [1.0] * 6, "temporal": [1.0] * 6}, "at most 5 items"),
        ({"spatial": [], "temporal": []}, "at least 1 item"),
        ({"spatial": [-1.0, 1.0, 1.0]}, "greater than or equal to 0"),
    ],
)
def test_an_impossible_hierarchy_is_refused(lists, line):
    with pytest.raises(ValidationError, match=re.escape(line)):
        hierarchy(**lists)


# ------------------------------------------------------------------------------------ learning


def drifting(video, start, contrast, frames=8, size=16):
    """A texture per video that drifts as its video does, from frame ``start`` on."""
    g = torch.Generator().manual_seed(video)
    texture = torch.rand(3, size, size, generator=g) * 2 - 1
    shift = [(start + i) * (1 + video % 3) for i in range(frames)]
    return contrast * torch.stack([texture.roll(s, dims=-1) for s in shift], dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["fixed", "invariance"])
def test_overfits_sixteen_videos(weights):
    method = build(weights, dim=16, hidden=32, temperature=0.1)
    batch = [
        torch.stack([drifting(v, start, contrast) for v in range(16)])
        for start, contrast in ((0, 1.0), (0, 0.7), (5, 1.2))
    ]
    found = pretext.overfit(method, lambda step: (batch, pretext.NO_TARGET), 40)
    early, last = ({name: values[at] for name, values in found.items()} for at in (0, -1))
    assert early["loss"] > 0.5 * 3.7 * math.log(31)  # near chance: the weights add up to 3.7
    assert last["loss"] < 0.2 * 3.7 * math.log(31)
    assert last["spatial_accuracy"] > 0.9
    assert last["temporal_accuracy"] > 0.9
