import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import pretext
from support.v3s_cases import CHANCE, EXPONENT, RATE, RATIO, SAMPLING, SIDE, build, draw_labels
from videossl.methods import v3s
from videossl.study import schema

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


# ------------------------------------------------------------------------------------ time


def frame_numbers(length, rate, exponent):
    """The path in plain numbers: round, then part frames that fall together."""
    reach = (length - 1) * rate
    found = [round(reach * (i / (length - 1)) ** exponent) for i in range(length)]
    for i in range(1, length):
        found[i] = max(found[i], found[i - 1] + 1)
    found[-1] = reach
    for i in range(length - 2, -1, -1):
        found[i] = min(found[i], found[i + 1] - 1)
    return found


@EXAMPLES
@given(
    length=st.integers(2, 32),
    rate=st.integers(1, 8),
    exponent=st.floats(0.2, 5),
)
def test_paths_start_and_end_together_and_never_stand_still(length, rate, exponent):
    path = v3s.path(length, rate, exponent)
    assert path.dtype == np.int64
    assert (path[0], path[-1]) == (0, (length - 1) * rate)
    assert np.diff(path).min() >= 1
    assert path.tolist() == frame_numbers(length, rate, exponent)


def test_paths_of_the_study():
    assert v3s.path(8, 4, 1.0).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert v3s.path(8, 4, 1.5).tolist() == [0, 2, 4, 8, 12, 17, 22, 28]
    assert v3s.path(8, 4, 0.67).tolist() == [0, 8, 12, 16, 19, 22, 25, 28]
    for exponent in (1.0, 1.5, 0.67):  # there is no room
        assert v3s.path(8, 1, exponent).tolist() == list(range(8))


def test_a_dot_moves_as_fast_as_the_rate_says():
    method = build(task={"ratios": [1.0], "sides": ["none"], "exponents": [1.0]}, size=64)
    video = torch.zeros(64, 64)
    video[torch.arange(64), torch.arange(64)] = 1  # one pixel per source frame
    seen = set()
    for seed in range(20):
        (request,) = method.requests(np.random.default_rng(seed), 64)
        clip = video[torch.from_numpy(request.frames)][None, None, :, None].expand(1, 3, -1, 64, 64)
        shown = method.transform(clip, torch.tensor([request.labels]))
        steps = shown[0, 0, :, 0].argmax(dim=1).diff().unique().tolist()
        assert steps == [SAMPLING["rates"][int(request.labels[RATE])]]
        seen.update(steps)
    assert seen == {1, 2, 4, 8}


# ------------------------------------------------------------------------------------ requests


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 200),
    frames=st.integers(2, 16),
    rates=st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    clips=st.integers(1, 3),
    jitter=st.sampled_from([0.0, 0.3]),
)
def test_requests_say_what_they_are(seed, num_frames, frames, rates, clips, jitter):
    method = build(frames=frames, task={"rates": rates}, clips=clips, frame_jitter=jitter)
    requests = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.draw_id for r in requests] == list(range(clips))
    for request in requests:
        assert request.kind == "augmented"
        ratio, side, rate, exponent, *numbers = request.labels
        rate = rates[int(rate)]
        reach = (frames - 1) * rate
        assert request.frames.shape == (frames,)
        assert request.frames.min() >= 0
        assert request.frames.max() < num_frames
        if reach < num_frames:
            start = request.frames[0]
            same = [v3s.path(frames, rate, e).tolist() for e in SAMPLING["exponents"]]
            told = len({tuple(s) for s in same}) == 3
            assert (exponent >= 0) == told
            expected = [same[int(exponent)]] if told else same
            assert (request.frames - start).tolist() in expected
        else:
            assert rate == min(rates)  # no rate fits
        assert SAMPLING["ratios"][int(ratio)] == numbers[0]
        x, y = {0: (0, 0), 1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}[int(side)]
        steep = max(abs(numbers[1]), abs(numbers[2]))
        assert numbers[1:3] == [x * steep, y * steep]
        if side:
            assert 0.5 - 1e-9 <= (1 - steep) / (1 + steep) <= 0.7 + 1e-9
        factors = numbers[3:]
        assert len(factors) == (2 * frames if jitter else 0)
        assert all(1 - jitter <= f <= 1 + jitter for f in factors)
    assert method.paths[0][0][-1] == (frames - 1) * rates[0]


@pytest.mark.parametrize(("num_frames", "rates"), [(64, 4), (56, 3), (29, 3), (15, 2), (5, 1)])
def test_labels_are_balanced_over_what_fits(num_frames, rates):
    method = build()
    rng = np.random.default_rng(0)
    drawn = [method.requests(rng, num_frames)[0] for _ in range(3000)]
    labels = np.array([r.labels[v3s.CLASSES] for r in drawn])
    for column, count in ((RATIO, 3), (SIDE, 5), (RATE, rates)):
        values, counts = np.unique(labels[:, column], return_counts=True)
        assert values.tolist() == list(range(count))
        assert np.abs(counts - 3000 / count).max() < 5 * math.sqrt(3000 / count)
    told = labels[labels[:, RATE] > 0, EXPONENT]
    assert (labels[labels[:, RATE] == 0, EXPONENT] == -1).all()  # rate 1 has no room
    if rates > 1:
        values, counts = np.unique(told, return_counts=True)
        assert values.tolist() == [0, 1, 2]
        assert np.abs(counts - len(told) / 3).max() < 5 * math.sqrt(len(told) / 3)


def test_labels_and_starts_say_nothing_of_one_another():
    method = build(task={"rates": [2, 4, 8]})
    rng = np.random.default_rng(0)
    drawn = [method.requests(rng, 64)[0] for _ in range(4000)]
    columns = [[*r.labels[v3s.CLASSES], r.frames[0]] for r in drawn]
    together = np.corrcoef(np.array(columns).T) - np.eye(5)
    assert np.abs(together).max() < 0.06
    for rate in range(3):  # the window of the highest rate
        starts = {int(r.frames[0]) for r in drawn if r.labels[RATE] == rate}
        assert starts == set(range(64 - 57 + 1))


def test_clips_of_a_video_are_sampled_independently():
    method = build(clips=2, task={"rates": [2, 4, 8]})
    rng = np.random.default_rng(0)
    pairs = [method.requests(rng, 64) for _ in range(3000)]
    both = np.array([[*a.labels[v3s.CLASSES], *b.labels[v3s.CLASSES]] for a, b in pairs])
    assert np.abs(np.corrcoef(both.T) - np.eye(8)).max() < 0.08


def test_requests_depend_on_the_generator_alone():
    method = build(frame_jitter=0.2)
    (a,), (b,) = (method.requests(np.random.default_rng([3, 7]), 64) for _ in range(2))
    assert a.labels == b.labels
    np.testing.assert_array_equal(a.frames, b.frames)


def test_span_is_that_of_the_highest_rate():
    method = build()
    reach = method.reach(method.params, method.task, method.clip)
    assert (reach.key, reach.frames) == ("rates", 57)


# ------------------------------------------------------------------------------------ loss


def written_out(method, logits, labels):
    """The loss of separate heads in plain numbers."""
    total, first = 0.0, 0
    params = method.params
    weights = [params.scale_weight, params.projection_weight]
    weights += [params.rate_weight, params.acceleration_weight]
    for column, (count, weight) in enumerate(zip([3, 5, 4, 3], weights, strict=True)):
        losses = []
        for scores, label in zip(logits, labels[:, column].astype(int), strict=True):
            if label >= 0:
                some = scores[first : first + count]
                losses.append(math.log(sum(math.exp(s) for s in some)) - some[label])
        total += weight * sum(losses) / len(losses)
        first += count
    return total


def test_loss_equals_the_equations():
    method = build(
        scale_weight=0.5, projection_weight=2.0, rate_weight=3.0, acceleration_weight=0.7
    ).double()
    clips, labels = torch.randn(12, 3, 8, 16, 16).double(), draw_labels(method, 12)
    assert (labels[:, EXPONENT] == -1).any()
    other = copy.deepcopy(method)
    out = pretext.forward(method, [clips], torch.arange(12), labels)
    logits = other.head(other.encoder(other.transform(clips, labels))).tolist()
    expected = written_out(method, logits, labels[:, v3s.CLASSES].numpy())
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)
    first = 0
    for column, count in enumerate([3, 5, 4, 3]):
        right = [
            int(np.argmax(scores[first : first + count])) == label
            for scores, label in zip(logits, labels[:, column].tolist(), strict=True)
            if label >= 0
        ]
        name = ("scale", "projection", "rate", "acceleration")[column]
        assert out[f"{name}_accuracy"].item() == pytest.approx(np.mean(right))
        first += count


@pytest.mark.parametrize("heads", ["separate", "joint"])
def test_chance_value(heads):
    method = build(task={"heads": heads})
    torch.nn.init.zeros_(method.head.weight)
    torch.nn.init.zeros_(method.head.bias)
    out = pretext.forward(
        method, [torch.randn(6, 3, 8, 16, 16)], torch.arange(6), draw_labels(method)
    )
    assert out["loss"].item() == pytest.approx(CHANCE, rel=1e-6)


def test_joint_labels_are_those_of_the_product():
    counts = [3, 5, 4, 3]
    every = np.stack(np.unravel_index(np.arange(180), counts), axis=1)
    labels = torch.from_numpy(every)
    assert v3s.product(labels, counts).tolist() == list(range(180))
    assert torch.equal(v3s.factors(torch.arange(180), counts), labels)
    unknown = torch.tensor([[2, 4, 0, -1]])
    assert v3s.product(unknown, counts).item() == np.ravel_multi_index((2, 4, 0, 0), counts)


def test_joint_loss_is_of_the_product():
    method = build(task={"heads": "joint"}).double()
    clips, labels = torch.randn(12, 3, 8, 16, 16).double(), draw_labels(method, 12)
    other = copy.deepcopy(method)
    out = pretext.forward(method, [clips], torch.arange(12), labels)
    logits = other.head(other.encoder(other.transform(clips, labels)))
    expected = 0.0
    for scores, row in zip(logits.tolist(), labels[:, v3s.CLASSES].numpy().clip(0), strict=True):
        label = np.ravel_multi_index(tuple(row.astype(int)), [3, 5, 4, 3])
        expected += math.log(sum(math.exp(s) for s in scores)) - scores[label]
    assert out["loss"].item() == pytest.approx(expected / 12, rel=1e-6)


def test_rows_without_room_do_not_count():
    logits, label = torch.randn(5, 3), torch.tensor([0, -1, 2, -1, 1])
    moved = logits.clone()
    moved[[1, 3]] += torch.randn(2, 3)
    loss = v3s.recognition(logits, label)
    assert loss == v3s.recognition(moved, label)
    known = torch.tensor([0, 2, 4])
    expected = torch.nn.functional.cross_entropy(logits[known], label[known])
    torch.testing.assert_close(loss, expected)
    assert v3s.recognition(logits, torch.full((5,), -1)) == 0


def test_clips_pass_as_rows_with_their_own_targets():
    two, one = build(clips=2), build(clips=1)
    one.load_state_dict(two.state_dict())
    clips, labels = [torch.randn(5, 3, 8, 16, 16) for _ in range(2)], draw_labels(two, 5)
    a, b = labels.chunk(2, dim=1)
    together = pretext.forward(two, clips, torch.arange(5), labels)
    apart = pretext.forward(one, [torch.cat(clips)], torch.arange(10), torch.cat([a, b]))
    torch.testing.assert_close(together, apart)


def test_gradient_reaches_the_encoder_and_every_head():
    method = build()
    out = pretext.step(
        method,
        [torch.randn(6, 3, 8, 16, 16)],
        torch.arange(6),
        lambda x: x.backward(),
        draw_labels(method),
    )
    assert not any(value.requires_grad for value in out.values())
    for name, parameter in method.encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert (method.head.weight.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("off", range(4))
def test_a_weight_switches_its_head_off(off):
    names = ["scale_weight", "projection_weight", "rate_weight", "acceleration_weight"]
    method = build(**{names[off]: 0.0})
    clips = [torch.randn(6, 3, 8, 16, 16)]
    pretext.forward(method, clips, torch.arange(6), draw_labels(method))["loss"].backward()
    parts = method.head.bias.grad.split([3, 5, 4, 3])
    assert [bool(part.abs().sum() > 0) for part in parts] == [k != off for k in range(4)]


# ------------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("rates", [2, 2], "rates = [2, 2]: must differ from one another"),
        ("sides", ["up", "up"], "sides = ['up', 'up']: must differ from one another"),
        ("shortening", [0.7, 0.5], "shortening = [0.7, 0.5]: must be [low, high]"),
        ("shortening", [0.5, 1.1], "shortening = [0.5, 1.1]: must be [low, high]"),
    ],
)
def test_impossible_sampling_is_refused(key, value, line):
    with pytest.raises(ValueError, match="must") as caught:
        schema.Sampling(**{**SAMPLING, key: value})
    assert line in str(caught.value)


# ------------------------------------------------------------------------------------ learning


def playing(seed, frames, size=32):
    """A soft round spot that moves right and leaves on one side to come back on the other."""
    rng = np.random.default_rng(seed)
    x, y, depth = rng.uniform(-1, 1), rng.uniform(-0.4, 0.4), rng.uniform(0.5, 1)
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    places = (x + 0.04 * torch.from_numpy(frames) + 1) % 2 - 1
    away = (axis[None, :] - places[:, None] + 1) % 2 - 1
    shape = (away[:, None, :].square() + (axis[:, None] - y).square()) / 0.05
    return (depth * torch.exp(-shape) * 4).float().expand(3, -1, -1, -1)


@pytest.mark.slow
def test_overfits_sixteen_videos():
    method = build(size=32, width=8, task={"rates": [2, 4, 8]})
    requests = [method.requests(np.random.default_rng([1, v]), 64)[0] for v in range(16)]
    clips = [torch.stack([playing(v, r.frames) for v, r in enumerate(requests)])]
    labels = torch.tensor([r.labels for r in requests])
    found = pretext.overfit(method, lambda step: (clips, labels), 60)
    assert found["loss"][-1] < 0.3 * CHANCE
    for name in v3s.TRANSFORMS:
        assert found[f"{name}_accuracy"][-1] > 0.8, name
