import copy
import datetime
import math
from collections import deque

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from support import pretext, ranks
from support.rho_modes import (
    assert_modes_agree,
    assert_modes_agree_under_autocast,
    built,
    clips,
    without_convolutions,
)
from support.specs import references
from videossl.distributed import gather
from videossl.job import UserError
from videossl.methods import losses, rho_moco
from videossl.methods.base import MomentumEncoder, Queue
from videossl.study import schema

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
MODES = ["sequential", "parallel"]


def build(rho=2, frames=8, stride=1, name="r3d", **changes):
    params = {
        "task": "rho",
        "motion": "none",
        "dim": 16,
        "hidden": 24,
        "layers": 3,
        "temperature": 0.1,
        "queue": 64,
        "momentum": 0.9,
        "momentum_schedule": "cosine",
        "positives": "sum_in_log",
        "mode": "sequential",
        **references("rho_moco"),
    }
    found = schema.RhoMoCo(**{**params, **changes})
    return built(rho_moco, found, rho, frames, stride, name)


def filled(method):
    """Every entry taken; videos 0..63, so that a batch of videos 0..4 has own entries."""
    method.queue.keys.copy_(losses.normalize(torch.randn_like(method.queue.keys)))
    method.queue.videos.copy_(torch.arange(64))
    return method


def gradients(method):
    online = [*method.encoder.named_parameters(), *method.head.named_parameters()]
    return {name: parameter.grad.clone() for name, parameter in online}


# ------------------------------------------------------------------------------------ loss


def written_out(method, batch, video):
    """Eq. 1 in plain numbers, averaged over clips, from the networks' outputs."""
    queries = [losses.normalize(method.head(method.encoder(c))).tolist() for c in batch]
    keys = [losses.normalize(method.key_encoder(c)).tolist() for c in batch]
    queue = list(zip(method.queue.keys.tolist(), method.queue.videos.tolist(), strict=True))
    tau, total = method.params.temperature, 0.0

    def weight(a, b):
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / tau)

    for i, query in enumerate(queries):
        for b, v in enumerate(video.tolist()):
            plus = [weight(query[b], k[b]) for j, k in enumerate(keys) if j != i]
            minus = sum(weight(query[b], k) for k, owner in queue if owner not in (v, -1))
            if method.params.positives == "sum_in_log":
                total += -math.log(sum(plus) / (sum(plus) + minus))
            else:
                total += sum(-math.log(p / (p + minus)) for p in plus) / len(plus)
    return total / len(queries) / len(video)


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("positives", ["sum_in_log", "mean_of_losses"])
@pytest.mark.parametrize("mode", MODES)
def test_loss_equals_the_equation(rho, positives, mode):
    method = filled(build(rho, positives=positives, mode=mode).double())
    method.queue.videos[30:40] = -1
    batch, video = clips(max(rho, 2), dtype=torch.float64), torch.tensor([0, 9, 33, 63, 100])
    expected = written_out(copy.deepcopy(method), batch, video)
    out = method.training_step(batch, video, lambda x: x.backward())
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rho", [1, 2, 4])
@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
def test_sequential_and_parallel_have_the_same_gradients_and_state(rho, name):
    method = filled(build(rho, name=name).double())
    assert_modes_agree(method, clips(max(rho, 2), dtype=torch.float64))


def test_sequential_works_under_autocast_and_close_to_full_precision():
    base = build(3)
    method = filled(rho_moco.build(base.params, 3, base.clip, without_convolutions()))
    assert_modes_agree_under_autocast(method, gradients, loss=0.02, cosine=0.99)


def test_order_of_the_clips_does_not_matter():
    method = filled(build(3).double())
    batch, video = clips(3, dtype=torch.float64), torch.arange(5)
    a = copy.deepcopy(method)(batch, video)["loss"]
    b = method([batch[2], batch[0], batch[1]], video)["loss"]
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_reaches_encoder_and_head_but_no_target_and_no_queue(mode):
    method = filled(build(3, mode=mode))
    out = method.training_step(clips(3), torch.arange(5), lambda x: x.backward())
    assert not any(value.requires_grad for value in out.values())
    for name, gradient in gradients(method).items():
        assert gradient.abs().sum() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in method.key_encoder.parameters())
    assert not any(b.requires_grad for b in method.queue.buffers())


def test_keys_of_all_clips_enter_the_queue_after_the_loss():
    method = build(3)
    batch, video = clips(3), torch.arange(5) + 7
    twin = copy.deepcopy(method)
    out = method.training_step(batch, video, lambda x: x.backward())
    assert out["loss"].item() == pytest.approx(0, abs=1e-6)  # nothing to tell the videos from yet
    for i, clip in enumerate(batch):
        expected = losses.normalize(twin.key_encoder(clip))
        torch.testing.assert_close(method.queue.keys[5 * i : 5 * i + 5], expected)
    assert method.queue.videos[:16].tolist() == video.tolist() * 3 + [-1]


# ------------------------------------------------------------------------------------ head


def test_heads_have_no_batch_norm():
    method = build(layers=3)
    for head in (method.head, method.key_encoder.head):
        kinds = [type(layer).__name__ for layer in head.layers]
        assert kinds == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


# ------------------------------------------------------------------------------------ momentum


def test_momentum_encoder_is_a_separate_copy_with_its_own_batch_statistics():
    encoder, head = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), nn.Linear(6, 3)
    slow = MomentumEncoder(encoder, head)
    x = torch.randn(8, 4)
    torch.testing.assert_close(slow(x), head(encoder(x)))
    assert not slow(x).requires_grad
    own, online = slow.encoder[1].running_mean.clone(), encoder[1].running_mean.clone()
    assert not torch.equal(own, online)  # two passes here, one there
    slow.update(encoder, head, 0.5)
    torch.testing.assert_close(slow.encoder[1].running_mean, own)
    assert "encoder.1.running_mean" in slow.state_dict()


# ------------------------------------------------------------------------------------ queue


@EXAMPLES
@given(size=st.integers(1, 20), data=st.data())
def test_queue_is_a_ring_of_the_newest_keys(size, data):
    queue, plain, count = Queue(size, 2), deque(maxlen=size), 0
    for batch in data.draw(st.lists(st.integers(1, size), max_size=12)):
        numbers = torch.arange(count, count + batch)
        queue.enqueue(torch.stack([numbers, -numbers], 1), numbers % 7)
        plain.extend(numbers.tolist())
        count += batch
        assert queue.pointer.item() == count % size
        taken = queue.videos >= 0
        assert sorted(queue.keys[taken, 0].tolist()) == sorted(plain)
        assert queue.videos[taken].tolist() == (queue.keys[taken, 0] % 7).long().tolist()
        torch.testing.assert_close(queue.keys[:, 0], -queue.keys[:, 1])
        oldest = queue.keys[:, 0].roll(-int(queue.pointer))[-len(plain) :]
        assert oldest.tolist() == list(plain)


@EXAMPLES
@given(
    stored=st.lists(st.integers(0, 4), max_size=8),
    asked=st.lists(st.integers(0, 6), min_size=1, max_size=5),
)
def test_empty_entries_and_own_video_are_masked(stored, asked):
    queue = Queue(8, 1)
    if stored:
        queue.enqueue(torch.ones(len(stored), 1), torch.tensor(stored))
    mask = queue.mask(torch.tensor(asked))
    expected = [[j >= len(stored) or stored[j] == v for j in range(8)] for v in asked]
    assert mask.tolist() == expected


@pytest.mark.parametrize("mode", MODES)
def test_a_videos_own_keys_never_push_it_away(mode):
    method = filled(build(2, mode=mode))
    method.queue.videos[:40] = 3  # a batch of video 3 alone sees the other 24 entries only
    batch, video = clips(2), torch.full((5,), 3)
    moved, changed = copy.deepcopy(method), copy.deepcopy(method)
    moved.queue.keys[:40] = losses.normalize(torch.randn(40, 16))
    changed.queue.keys[40:] = losses.normalize(torch.randn(24, 16))
    a, b, c = (
        m.training_step(batch, video, lambda x: x.backward())["loss"].item()
        for m in (method, moved, changed)
    )
    assert a == b != c


def test_queue_survives_a_checkpoint():
    queue = Queue(6, 3)
    queue.enqueue(torch.randn(4, 3), torch.arange(4))
    other = Queue(6, 3)
    other.load_state_dict(queue.state_dict())
    for q in (queue, other):
        q.enqueue(torch.ones(4, 3), torch.arange(4) + 10)
    assert all(torch.equal(a, b) for a, b in zip(queue.buffers(), other.buffers(), strict=True))
    assert other.videos.tolist() == [12, 13, 2, 3, 10, 11]


def test_a_batch_larger_than_the_queue_is_refused():
    with pytest.raises(UserError, match=r"queue: 4 keys, .* brings 5; allowed: >= 5"):
        Queue(4, 2).enqueue(torch.ones(5, 2), torch.arange(5))


def _rank(rank, folder):
    store = dist.FileStore(f"{folder}/store", 2)
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)
    queue = Queue(12, 3)
    for step in range(4):
        numbers = torch.arange(4) + 4 * step
        keys = numbers[:, None].float().expand(4, 3)
        queue.enqueue(keys[2 * rank : 2 * rank + 2], numbers[2 * rank : 2 * rank + 2])
    torch.save(queue.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_queue_of_two_ranks_is_that_of_one_process(tmp_path):
    ranks.start(_rank, 2, str(tmp_path))
    alone = Queue(12, 3)
    for step in range(4):
        numbers = torch.arange(4) + 4 * step
        alone.enqueue(numbers[:, None].float().expand(4, 3), numbers)
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt")
        for key, value in alone.state_dict().items():
            assert torch.equal(state[key], value), (rank, key)


def test_gather_without_ranks_is_the_tensor_without_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    assert torch.equal(gather(x), x)
    assert not gather(x).requires_grad


# ------------------------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize("rho", [1, 3])
def test_overfits_sixteen_videos(rho):
    method = build(rho, queue=48 * rho, temperature=0.2)
    videos = torch.randn(16, 3, 8, 16, 16)
    batch = [videos + 0.5 * torch.randn_like(videos) for _ in range(max(rho, 2))]
    found = pretext.overfit(method, lambda step: (batch, pretext.NO_LABELS), 30)
    # the queue is full, so the loss at its full height, from the fourth step on
    early = {name: values[3:6].mean() for name, values in found.items()}
    last = {name: values[-3:].mean() for name, values in found.items()}
    assert last["loss"] < 0.7 * early["loss"]
    assert last["instance_accuracy"] > max(0.8, early["instance_accuracy"])
