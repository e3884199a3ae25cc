import copy
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from support import pretext
from support.specs import COLOURS, references
from videossl.job import UserError
from videossl.methods import losses, vtdl
from videossl.models import resnet3d
from videossl.study import schema

BATCH = 6


def spec(**changes):
    params = {
        "task": "tca",
        "motion": "none",
        "gap": 0,
        "least_gap": 0,
        "detach_negative": False,
        "dim": 16,
        "temperature": 0.07,
        "queue": 64,
        "momentum": 0.9,
        **references("vtdl"),
    }
    return schema.VTDL(**{**params, **changes})


def build(alpha=0.1, apply_to="both", frames=8, stride=1, **changes):
    model = schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
    clip = schema.Clip(frames=frames, stride=stride, size=16)
    tca = schema.TCA(alpha=alpha, apply_to=apply_to)
    return vtdl.build(spec(**changes), tca, clip, resnet3d.build(model))


def clips(batch=BATCH, frames=8, size=16):
    return [torch.randn(batch, 3, frames, size, size) for _ in range(3)]


def targets(missing=()):
    """Shares and frames of two blends, and whether the negative counts."""
    g = torch.Generator().manual_seed(3)
    found = torch.zeros(BATCH, 5)
    found[:, [0, 2]] = torch.rand(BATCH, 2, generator=g)
    found[:, [1, 3]] = torch.randint(8, (BATCH, 2), generator=g).float()
    found[:, 4] = 1
    found[list(missing), 4] = 0
    return found


def filled(method, videos=1000):
    method.queue.keys.copy_(losses.normalize(torch.randn_like(method.queue.keys)))
    method.queue.videos.copy_(torch.arange(len(method.queue.videos)) + videos)
    return method


# ------------------------------------------------------------------------------------ loss


def test_gaps_that_cannot_be():
    with pytest.raises(ValidationError, match="least_gap = 4: allowed: <= gap, 3"):
        spec(gap=3, least_gap=4)
    with pytest.raises(UserError, match=r"least_gap = -8: .* 8 frames.* > -8"):
        build(least_gap=-8)


def test_span_is_that_of_the_closest_two_intervals():
    clip, tca = schema.Clip(frames=8, stride=4, size=16), schema.TCA(alpha=0, apply_to="anchor")
    assert vtdl.span(spec(gap=9, least_gap=0), tca, clip) == 58
    assert vtdl.span(spec(gap=9, least_gap=-5), tca, clip) == 53


@pytest.mark.parametrize("apply_to", ["anchor", "positive", "both"])
def test_each_role_gets_its_own_blend_and_the_negative_none(apply_to):
    method = filled(build(alpha=1.0, apply_to=apply_to))
    plain = copy.deepcopy(method)
    plain.tca = schema.TCA(alpha=0.0, apply_to="both")
    batch, target = clips(), targets()
    if apply_to != "both":  # as ``requests`` draws it
        target[:, 2 if apply_to == "anchor" else 0] = 0
    still = target.clone()
    still[:, [0, 2]] = 0
    blended = [
        vtdl.static_blend(batch[0], target[:, 0], target[:, 1]),
        vtdl.static_blend(batch[1], target[:, 2], target[:, 3]),
        batch[2],
    ]
    video = torch.arange(BATCH)
    changed = copy.deepcopy(plain)(batch, video, still)["loss"].item()
    expected = plain(blended, video, still)["loss"].item()
    found = method(batch, video, target)["loss"].item()
    assert found == pytest.approx(expected, rel=1e-6)
    assert abs(found - changed) > 1e-4


def written_out(method, batch, video, target):
    """The loss in plain numbers, from the networks' outputs."""
    anchor, positive, negative = batch
    anchor, positive = anchor.clone(), positive.clone()
    for row in range(len(video)):
        for clip, (share, frame) in zip(
            (anchor, positive), target[row, :4].view(2, 2).tolist(), strict=True
        ):
            still = clip[row, :, int(frame)].clone()
            for t in range(clip.shape[2]):
                clip[row, :, t] = (1 - share) * clip[row, :, t] + share * still
    q, n = (method.head(method.encoder(c)).tolist() for c in (anchor, negative))
    k = method.target(positive).tolist()
    queue = zip(method.queue.keys.tolist(), method.queue.videos.tolist(), strict=True)
    queue = [(key, owner) for key, owner in queue if owner >= 0]

    def term(a, b):
        product = sum(x * y for x, y in zip(a, b, strict=True))
        norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return math.exp(product / norms / method.params.temperature)

    loss = 0.0
    for b, v in enumerate(video.tolist()):
        plus = term(q[b], k[b])
        minus = sum(term(q[b], key) for key, owner in queue if owner != v)
        if target[b, 4] == 1:
            minus += term(q[b], n[b])
        loss -= math.log(plus / (plus + minus)) / len(video)
    return loss


@pytest.mark.parametrize("missing", [(), (0, 4)])
def test_loss_equals_the_equations(missing):
    method = build(temperature=0.2).double()
    filled(method, videos=0)
    method.queue.videos[40:50] = -1
    batch, target = [c.double() for c in clips()], targets(missing).double()
    video = torch.tensor([0, 5, 63, 100, 41, 7])
    expected = written_out(copy.deepcopy(method), batch, video, target)
    out = method(batch, video, target)
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert out["temporal_negatives"].item() == pytest.approx(1 - len(missing) / BATCH)


@pytest.mark.parametrize("missing", [(), range(BATCH)])
def test_chance_value(missing):
    method = filled(build())
    for head in (method.head, method.target.head):
        torch.nn.init.zeros_(head.weight)
    method.target.head.bias.data.copy_(method.head.bias)
    method.queue.keys.copy_(losses.normalize(method.head.bias.detach()).expand(64, 16))
    out = method(clips(), torch.arange(BATCH), targets(missing))  # all embeddings are the same
    chance = math.log(64 + 2) if not missing else math.log(64 + 1)
    assert out["loss"].item() == pytest.approx(chance, rel=1e-5)


def test_each_row_has_its_own_temporal_negative_unless_it_is_masked():
    has = torch.tensor([1, 0, 1, 1, 1, 1]) > 0
    temporal, queued, excluded = torch.randn(6, 16), torch.randn(9, 16), torch.rand(6, 9) > 0.5
    keys, mask = vtdl.triplet_negatives(temporal, has, queued, excluded)
    torch.testing.assert_close(keys, torch.cat([queued, temporal]))
    assert torch.equal(mask[:, :9], excluded)
    counts = ~mask[:, 9:]
    assert counts.tolist() == [[a == b != 1 for b in range(6)] for a in range(6)]


def test_what_a_masked_negative_shows_does_not_matter():
    video, found = torch.arange(BATCH), []
    method = filled(build()).eval()  # batch norm would couple the rows
    batch = clips()
    for level in (7.0, -9.0):
        batch[2][1] = level
        found.append(
            [
                copy.deepcopy(method)(batch, video, targets(missing))["loss"].item()
                for missing in ([1], [])
            ]
        )
    (masked, counted), (masked_again, counted_again) = found
    assert masked == masked_again
    assert counted != counted_again


@pytest.mark.parametrize("detach", [False, True])
def test_gradient_reaches_encoder_and_head_but_no_target_and_no_queue(detach):
    method = filled(build(detach_negative=detach))
    batch = [c.requires_grad_() for c in clips()]
    seen = []
    out = method.training_step(
        batch, torch.arange(BATCH), lambda x: seen.append(x) or x.backward(), targets()
    )
    assert len(seen) == 1
    assert not any(value.requires_grad for value in out.values())
    for name, p in [*method.encoder.named_parameters(), *method.head.named_parameters()]:
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    assert not any(b.requires_grad for b in method.queue.buffers())
    anchor, positive, negative = batch
    assert anchor.grad.abs().sum() > 0
    assert positive.grad is None
    assert (negative.grad is None) == detach
    assert detach or negative.grad.abs().sum() > 0


def test_a_step_brings_the_key_closer_and_sends_the_negative_away():
    method = filled(build(alpha=0.0))
    batch, video = clips(), torch.arange(BATCH)

    def similarities():
        with torch.no_grad():
            q, n = (method.head(method.encoder(c)) for c in (batch[0], batch[2]))
            near = losses.cosine(q, method.target(batch[1]))
            return near.mean().item(), losses.cosine(q, n).mean().item()

    before = similarities()
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        method.training_step(batch, video, lambda x: x.backward(), targets())
        filled(method)
        optimizer.step()
    after = similarities()
    assert after[0] - after[1] > before[0] - before[1] + 0.01


@pytest.mark.parametrize("swapped", [False, True])
def test_temporal_accuracy_compares_key_and_negative(swapped):
    method = filled(build(alpha=0.0)).eval()
    anchor = torch.randn(BATCH, 3, 8, 16, 16)
    order = [anchor, anchor.flip(0) * 3, anchor] if swapped else [anchor, anchor, anchor.flip(0)]
    method.target.encoder.eval()
    out = method(order, torch.arange(BATCH), targets() * torch.tensor([0, 0, 0, 0, 1.0]))
    assert out["temporal_accuracy"].item() == (0.0 if swapped else 1.0)
    masked = method(order, torch.arange(BATCH), torch.zeros(BATCH, 5))
    assert masked["temporal_accuracy"].item() == 1
    assert masked["temporal_negatives"].item() == 0


def test_queue_gets_the_keys_of_the_blended_positives():
    method = build()
    batch, video, target = clips(), torch.arange(BATCH) + 20, targets()
    shown = vtdl.static_blend(batch[1], target[:, 2], target[:, 3])
    expected = losses.normalize(copy.deepcopy(method).target(shown))
    method(batch, video, target)
    torch.testing.assert_close(method.queue.keys[:BATCH], expected)
    assert method.queue.videos[:BATCH].tolist() == video.tolist()
    assert method.queue.videos[BATCH:].eq(-1).all()


@pytest.mark.parametrize("own", [True, False])
def test_a_videos_own_keys_never_push_it_away(own):
    method = filled(build())
    method.queue.videos[:40] = 3 if own else 4
    batch, video = clips(), torch.full((BATCH,), 3)
    moved = copy.deepcopy(method)
    moved.queue.keys[:40] = losses.normalize(torch.randn(40, 16))
    a, b = (m(batch, video, targets())["loss"].item() for m in (method, moved))
    assert (a == b) == own


def test_target_follows_with_constant_momentum():
    method = build(momentum=0.75)
    before = [p.clone() for p in method.target.parameters()]
    online = [*method.encoder.parameters(), *method.head.parameters()]
    for parameter in online:
        parameter.data.add_(1.0)
    method.after_step(0.9)
    for old, new, target in zip(before, method.target.parameters(), online, strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * target)


# ------------------------------------------------------------------------------------ learning


def playing(video, start, frames=8, size=16):
    """A drifting pattern per video, brighter from frame to frame: an interval can be told."""
    g = torch.Generator().manual_seed(video)
    texture = torch.rand(3, size, size, generator=g) * 2 - 1
    times = range(start, start + frames)
    return torch.stack([texture.roll(t, dims=-1) + 0.1 * t for t in times], dim=1)


@pytest.mark.slow
def test_tells_videos_and_intervals_of_sixteen_videos_apart():
    method = build(queue=48)
    rng = np.random.default_rng(0)

    def batch_of(step):
        drawn = [method.requests(rng, 32) for _ in range(16)]
        batch = [
            torch.stack([playing(v, int(r[part].frames[0])) for v, r in enumerate(drawn)])
            for part in range(3)
        ]
        return batch, torch.tensor([[x for r in row for x in r.target] for row in drawn])

    found = pretext.overfit(method, batch_of, 40)
    last = {name: values[-5:].mean() for name, values in found.items()}
    assert last["loss"] < 0.5 * math.log(45 + 2)  # of 48 keys, 3 are a video's own
    assert last["temporal_accuracy"] > 0.9
    assert last["instance_accuracy"] > 0.6
