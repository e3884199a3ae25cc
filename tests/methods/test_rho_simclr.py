import copy
import datetime
import math
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from support import pretext, ranks, rho_modes
from support.rho_modes import (
    assert_modes_agree,
    assert_modes_agree_under_autocast,
    built,
    in_mode,
    without_convolutions,
)
from support.specs import references
from videossl import distributed
from videossl.methods import losses, rho_simclr
from videossl.models.batchnorm import GroupedBatchNorm, apply_groups
from videossl.study import schema

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
MODES = ["sequential", "parallel"]
clips = partial(rho_modes.clips, dtype=torch.float64)


def build(rho=2, frames=8, stride=1, name="r3d", **changes):
    params = {
        "task": "rho",
        "motion": "none",
        "dim": 16,
        "hidden": 24,
        "layers": 3,
        "batch_norm": True,
        "temperature": 0.1,
        "mode": "parallel",
        **references("rho_simclr"),
    }
    found = schema.RhoSimCLR(**{**params, **changes})
    return built(rho_simclr, found, rho, frames, stride, name)


def embeddings(batch, count, dim=6):
    return torch.randn(batch, count, dim, dtype=torch.float64)


def gradients(method):
    return {name: p.grad.clone() for name, p in method.named_parameters()}


# ------------------------------------------------------------------------------------ loss


def written_out(rows, videos, tau):
    """Eq. 1 in plain numbers, averaged over the clips; ``rows[b][i]`` is a vector."""

    def weight(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return math.exp(dot / math.hypot(*a) / math.hypot(*b) / tau)

    terms = []
    for b, own in enumerate(rows):
        for i, query in enumerate(own):
            plus = sum(weight(query, own[j]) for j in range(len(own)) if j != i)
            minus = sum(
                weight(query, key)
                for c, other in enumerate(rows)
                if videos[c] != videos[b]
                for key in other
            )
            terms.append(-math.log(plus / (plus + minus)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("videos", [[0, 1, 2, 3, 4], [7, 3, 7, 9, 3]])
def test_loss_equals_the_equation(count, videos):
    x = embeddings(5, count)
    loss = rho_simclr.contrast(x, torch.tensor(videos), 0.3)["loss"].item()
    assert loss == pytest.approx(written_out(x.tolist(), videos, 0.3), rel=1e-9)


@pytest.mark.parametrize("rho", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_loss_of_the_method_is_that_of_its_embeddings(rho, mode):
    method = build(rho, mode=mode, temperature=0.2).double()
    batch, video = clips(max(rho, 2)), torch.tensor([4, 0, 9, 4, 2])
    twin = copy.deepcopy(method)
    rows = torch.stack([twin.head(twin.encoder(c)) for c in batch], dim=1)  # not normalised
    out = method.training_step(batch, video, lambda x: x.backward())
    assert out["loss"].item() == pytest.approx(
        written_out(rows.tolist(), video.tolist(), 0.2), rel=1e-6
    )


def test_two_clips_are_plain_nt_xent():
    x, batch, tau = embeddings(6, 2), 6, 0.1
    z = F.normalize(torch.cat([x[:, 0], x[:, 1]]), dim=1)  # all first clips, then all second
    logits = (z @ z.T / tau).masked_fill(torch.eye(2 * batch, dtype=torch.bool), -math.inf)
    partner = (torch.arange(2 * batch) + batch) % (2 * batch)
    found = rho_simclr.contrast(x, torch.arange(batch), tau)["loss"]
    torch.testing.assert_close(found, F.cross_entropy(logits, partner), rtol=1e-12, atol=0)


def test_three_clips_are_the_difference_of_two_logsumexps():
    x, tau = embeddings(4, 3), 0.1
    z = F.normalize(x, dim=-1)
    losses_ = []
    for b in range(4):
        for i in range(3):
            sims = {(c, j): z[b, i] @ z[c, j] / tau for c in range(4) for j in range(3)}
            del sims[(b, i)]
            plus = torch.stack([s for (c, _), s in sims.items() if c == b])
            losses_.append(torch.stack(list(sims.values())).logsumexp(0) - plus.logsumexp(0))
    found = rho_simclr.contrast(x, torch.arange(4), tau)["loss"]
    torch.testing.assert_close(found, torch.stack(losses_).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_gradient_is_that_of_the_equation(count):
    x, videos, tau = embeddings(4, count).requires_grad_(), [0, 1, 1, 2], 0.5
    z = F.normalize(x, dim=-1)
    terms = []
    for b in range(4):
        for i in range(count):
            plus = torch.stack([z[b, i] @ z[b, j] for j in range(count) if j != i])
            minus = [z[b, i] @ k for c in range(4) if videos[c] != videos[b] for k in z[c]]
            both = torch.cat([plus, torch.stack(minus)])
            terms.append((both / tau).logsumexp(0) - (plus / tau).logsumexp(0))
    (expected,) = torch.autograd.grad(torch.stack(terms).mean(), x)
    loss = rho_simclr.contrast(x, torch.tensor(videos), tau)["loss"]
    (found,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rho", [1, 2, 3, 5])
def test_chance_is_the_log_of_what_there_is_to_choose_from(rho):
    method, count = build(rho), max(rho, 2)
    nn.init.zeros_(method.head.layers[-1].weight)
    nn.init.ones_(method.head.layers[-1].bias)
    out = method(clips(count, dtype=torch.float32), torch.arange(5))
    expected = math.log((count - 1 + 4 * count) / (count - 1))
    assert out["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert out["positive_similarity"].item() == pytest.approx(1, abs=1e-6)


@EXAMPLES
@given(count=st.integers(2, 5), batch=st.integers(2, 6), data=st.data())
def test_order_of_clips_and_rows_does_not_matter(count, batch, data):
    x = torch.randn(
        batch, count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(batch)
    )
    video = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch)))
    columns = data.draw(st.permutations(range(count)))
    rows = data.draw(st.permutations(range(batch)))
    a = rho_simclr.contrast(x, video, 0.1)
    b = rho_simclr.contrast(x[rows][:, columns], video[rows], 0.1)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_order_of_the_clips_of_the_method_does_not_matter():
    method, batch, video = build(3).double(), clips(3), torch.arange(5)
    a = copy.deepcopy(method)(batch, video)["loss"]
    b = method([batch[2], batch[0], batch[1]], video)["loss"]
    torch.testing.assert_close(a, b, rtol=1e-10, atol=0)


def test_positives_are_the_other_clips_of_the_video():
    x = torch.arange(6).view(2, 3, 1)
    found = rho_simclr.positives(x).squeeze(2).tolist()
    assert [sorted(row) for row in found] == [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]]


def test_a_video_is_never_pushed_from_itself():
    x = embeddings(5, 3)
    alone = rho_simclr.contrast(x, torch.full((5,), 8), 0.1)
    assert alone["loss"].item() == pytest.approx(0, abs=1e-12)
    assert alone["instance_accuracy"].item() == 1
    x.requires_grad_()
    rho_simclr.contrast(x, torch.tensor([8, 8, 8, 8, 2]), 0.1)["loss"].backward()
    moved = x.detach().clone()
    moved[1] = embeddings(1, 3)[0]  # row 0's own video, as seen from row 0 and from no other
    seen = [
        rho_simclr.contrast(torch.stack([y[0], y[1]]), torch.tensor([8, 8]), 0.1)["loss"].item()
        for y in (x.detach(), moved)
    ]
    assert seen == [pytest.approx(0, abs=1e-12)] * 2
    assert x.grad.abs().sum(dim=(1, 2)).min() > 1e-3  # all have video 2 to be pushed from


def test_accuracy_is_the_share_of_pairs_closer_than_the_nearest_negative():
    x = torch.tensor([[[1.0, 0.0], [1.0, 0.1]], [[0.0, 1.0], [1.0, 0.05]]])
    out = rho_simclr.contrast(x, torch.arange(2), 0.1)
    # clip (1, 1) lies between both clips of video 0, nearer to each than they are to one another;
    # clip (1, 0) is nearer to (0, 1) than to its partner
    assert out["instance_accuracy"].item() == 0
    out = rho_simclr.contrast(x[:, :1].expand(2, 2, 2), torch.arange(2), 0.1)
    assert out["instance_accuracy"].item() == 1


# ------------------------------------------------------------------------------------ modes


@pytest.mark.parametrize("rho", [1, 2, 4])
@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
@pytest.mark.parametrize("kind", ["BatchNorm", "GroupedBatchNorm"])
def test_sequential_and_parallel_have_the_same_gradients_and_state(rho, name, kind):
    method = in_mode(build(rho, name=name).double(), "sequential")
    if kind == "GroupedBatchNorm":
        assert apply_groups(method, 3, torch.device("cpu"), 6)
        assert sum(isinstance(m, GroupedBatchNorm) for m in method.head.modules()) == 2
    assert_modes_agree(method, clips(max(rho, 2), batch=6), steps=2)
    counted = method.state_dict()["head.layers.1.num_batches_tracked"].item()
    assert counted == 2 * max(rho, 2)  # once per clip and batch


def test_sequential_holds_the_activations_of_one_clip():
    method, seen = build(3, mode="sequential"), []
    method.encoder.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))

    def backward(loss):
        seen.append("backward")
        loss.backward()

    method.training_step(clips(3, dtype=torch.float32), torch.arange(5), backward)
    assert seen == [False] * 3 + [True, "backward"] * 3


def test_sequential_works_under_autocast_and_close_to_full_precision():
    base = build(3)
    method = rho_simclr.build(base.params, 3, base.clip, without_convolutions())
    assert_modes_agree_under_autocast(method, gradients, loss=0.03, cosine=0.98)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradient_reaches_all_weights_from_every_clip(mode, batch_norm):
    method = build(3, mode=mode, batch_norm=batch_norm).double()
    batch = [clip.requires_grad_() for clip in clips(3)]
    method.training_step(batch, torch.arange(5), lambda x: x.backward())
    for name, gradient in gradients(method).items():
        assert gradient.abs().sum() > 1e-9, name
    for clip in batch:  # there is no target: query, positive and negative alike take a gradient
        assert clip.grad.abs().sum() > 1e-6


@pytest.mark.parametrize(("batch_norm", "norms"), [(True, 2), (False, 0)])
def test_batch_norm_stands_after_the_hidden_layers(batch_norm, norms):
    head = build(batch_norm=batch_norm, layers=3).head
    assert sum(isinstance(m, nn.BatchNorm1d) for m in head.modules()) == norms
    widths = [m.out_features for m in head.modules() if isinstance(m, nn.Linear)]
    assert widths == [24, 24, 16]


# ------------------------------------------------------------------------------------ ranks


def _rank(rank, folder):
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)
    given = torch.load(f"{folder}/given.pt")
    share, found = slice(3 * rank, 3 * rank + 3), {}
    for mode in MODES:
        torch.manual_seed(0)
        method = build(3, mode=mode).double()
        apply_groups(method, "all", torch.device("cpu"), 3)
        out = method.training_step(
            [clip[share] for clip in given["clips"]], given["video"][share], lambda x: x.backward()
        )
        distributed.average(p.grad for p in method.parameters())
        found[mode] = (distributed.averaged(out), gradients(method), method.state_dict())
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_are_one_process_in_both_modes(tmp_path):
    batch, video = clips(3, batch=6), torch.tensor([0, 1, 2, 0, 5, 1])  # own video on both ranks
    torch.save({"clips": batch, "video": video}, tmp_path / "given.pt")
    ranks.start(_rank, 2, str(tmp_path))
    torch.manual_seed(0)
    alone = build(3).double()
    out = alone.training_step(batch, video, lambda x: x.backward())
    expected, state = gradients(alone), alone.state_dict()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for mode in MODES:
            measures, own, buffers = found[mode]
            for key, value in out.items():
                assert measures[key].item() == pytest.approx(value.item(), rel=1e-5), (mode, key)
            torch.testing.assert_close(own, expected, rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(dict(buffers), dict(state), rtol=1e-8, atol=1e-12)


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "mode"), [(1, "parallel"), (2, "sequential"), (3, "parallel")])
def test_overfits_sixteen_videos(rho, mode):
    method, count = build(rho, mode=mode), max(rho, 2)
    videos = torch.randn(16, 3, 8, 16, 16)
    batch = [videos + 0.5 * torch.randn_like(videos) for _ in range(count)]
    found = pretext.overfit(method, lambda step: (batch, pretext.NO_LABELS), 40)
    chance = math.log((count - 1 + 15 * count) / (count - 1))
    assert found["loss"][-1] < 0.4 * chance
    assert found["instance_accuracy"][-1] > 0.9
    assert losses.cosine(*[method.embed(c) for c in batch[:2]]).mean() > 0.5
