import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videossl.methods import losses

TAU = 0.07


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def unit(vector):
    norm = math.sqrt(sum(v * v for v in vector))
    return [v / norm for v in vector]


def dot(a, b):
    return sum(x * y for x, y in zip(unit(a), unit(b), strict=True))


def written_out(query, positives, negatives, tau, mask, reduction):
    """Eq. 1 of Feichtenhofer et al. and the released variant, one number at a time."""
    total = 0.0
    for b, q in enumerate(query):
        plus = [math.exp(dot(q, k) / tau) for k in positives[b]]
        minus = [math.exp(dot(q, k) / tau) for j, k in enumerate(negatives) if not mask[b][j]]
        if reduction == "sum_in_log":
            total += -math.log(sum(plus) / (sum(plus) + sum(minus)))
        else:
            total += sum(-math.log(p / (p + sum(minus))) for p in plus) / len(plus)
    return total / len(query)


def sample(seed, batch=3, positives=2, negatives=9, dim=5, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, dim, generator=g, dtype=dtype)
    keys = torch.randn(batch, positives, dim, generator=g, dtype=dtype)
    queue = torch.randn(negatives, dim, generator=g, dtype=dtype)
    mask = torch.rand(batch, negatives, generator=g) < 0.3
    return query, keys, queue, mask


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    positives=st.integers(1, 4),
    negatives=st.integers(1, 12),
    tau=st.sampled_from([0.07, 0.1, 0.2, 1.0]),
    reduction=st.sampled_from(["sum_in_log", "mean_of_losses"]),
)
def test_info_nce_equals_the_equation(seed, positives, negatives, tau, reduction):
    q, p, n, mask = sample(seed, positives=positives, negatives=negatives)
    ours = losses.info_nce(q, p, n, tau, mask, reduction).item()
    loops = written_out(q.tolist(), p.tolist(), n.tolist(), tau, mask.tolist(), reduction)
    assert ours == pytest.approx(loops, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("reduction", ["sum_in_log", "mean_of_losses"])
def test_one_positive_is_plain_cross_entropy(reduction):
    q, p, n, _ = sample(0, positives=1)
    unit_q, unit_p, unit_n = map(losses.normalize, (q, p, n))
    logits = torch.cat([(unit_q * unit_p[:, 0]).sum(1, keepdim=True), unit_q @ unit_n.T], 1)
    expected = torch.nn.functional.cross_entropy(logits / TAU, torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(losses.info_nce(q, p, n, TAU, None, reduction), expected)


def test_two_positives_sum_inside_the_log():
    q, p, n, _ = sample(1, positives=2)
    plus = torch.einsum("bd,bpd->bp", losses.normalize(q), losses.normalize(p)) / TAU
    minus = losses.normalize(q) @ losses.normalize(n).T / TAU
    expected = (torch.cat([plus, minus], 1).logsumexp(1) - plus.logsumexp(1)).mean()
    torch.testing.assert_close(losses.info_nce(q, p, n, TAU), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("reduction", ["sum_in_log", "mean_of_losses"])
def test_order_of_positives_and_negatives_does_not_matter(reduction):
    q, p, n, mask = sample(2, positives=4)
    order, shuffle = torch.tensor([2, 0, 3, 1]), torch.randperm(9)
    a = losses.info_nce(q, p, n, TAU, mask, reduction)
    b = losses.info_nce(q, p[:, order], n[shuffle], TAU, mask[:, shuffle], reduction)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("positives", "count"), [(1, 64), (3, 64), (1, 16384)])
def test_chance_value(positives, count):
    same = torch.ones(2, 8)
    keys, queue = same.unsqueeze(1).expand(2, positives, 8), torch.ones(count, 8)
    mixed = losses.info_nce(same, keys, queue, TAU).item()
    apart = losses.info_nce(same, keys, queue, TAU, None, "mean_of_losses").item()
    assert mixed == pytest.approx(math.log((count + positives) / positives), rel=1e-5)
    assert apart == pytest.approx(math.log(count + 1), rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum_in_log", "mean_of_losses"])
def test_masked_negatives_are_as_good_as_absent(reduction):
    q, p, n, _ = sample(3, positives=2)
    mask = torch.zeros(3, 9, dtype=torch.bool)
    mask[:, 4:] = True
    masked = losses.info_nce(q, p, n, TAU, mask, reduction)
    torch.testing.assert_close(masked, losses.info_nce(q, p, n[:4], TAU, None, reduction))


@pytest.mark.parametrize("reduction", ["sum_in_log", "mean_of_losses"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_without_any_negative_the_loss_and_its_gradient_are_zero(reduction, dtype):
    q, p, n, _ = sample(4, positives=2, dtype=torch.float64)
    q = q.to(dtype).requires_grad_()
    p, n = p.to(dtype)[:, :1], n.to(dtype)
    with torch.autograd.set_detect_anomaly(True):
        for negatives, mask in ((n, torch.ones(3, 9, dtype=torch.bool)), (None, None)):
            loss = losses.info_nce(q, p, negatives, TAU, mask, reduction)
            (gradient,) = torch.autograd.grad(loss, q)
            assert loss.item() == pytest.approx(0, abs=1e-6)
            assert gradient.isfinite().all()
            assert gradient.abs().max() < 1e-6


def test_gradient_reaches_query_and_positives():
    q, p, n, mask = sample(5)
    inputs = (q.requires_grad_(), p.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: losses.info_nce(a, b, n, 0.5, mask), inputs)
    assert torch.autograd.gradcheck(
        lambda a, b: losses.info_nce(a, b, n, 0.5, mask, "mean_of_losses"), inputs
    )


def test_autocast_does_not_lower_the_precision():
    q, p, n, mask = sample(6, dim=64, dtype=torch.float32)
    exact = losses.info_nce(q, p, n, TAU, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = losses.info_nce(q, p, n, TAU, mask)
    assert cast.dtype == torch.float32
    assert cast.item() == exact.item()


def test_scale_of_the_vectors_does_not_matter():
    q, p, n, mask = sample(7)
    a = losses.info_nce(q, p, n, TAU, mask)
    torch.testing.assert_close(a, losses.info_nce(3 * q, 5 * p, 0.1 * n, TAU, mask))


def test_ranking_by_hand():
    plus, minus = torch.tensor([0.9, 0.5, 0.2, -0.3]), torch.tensor([0.1, 0.45, 0.2, 0.4])
    # gaps .8, .05, 0, -.7 at margin .15 -> 0, .1, .15, .85
    assert losses.ranking(plus, minus, 0.15).item() == pytest.approx(1.1 / 4, rel=1e-5)


@settings(deadline=None, derandomize=True)
@given(
    margin=st.floats(0, 2),
    similarity=st.floats(-1, 1),
    gap=st.floats(0, 2),
)
def test_ranking_is_the_margin_at_a_tie_and_zero_from_the_margin_on(margin, similarity, gap):
    s = torch.full((4,), similarity, dtype=torch.float64)
    assert losses.ranking(s, s, margin).item() == pytest.approx(margin)
    wide = losses.ranking(s + gap, s, margin).item()
    assert wide == pytest.approx(max(0.0, margin - gap), abs=1e-9)


def test_released_margin_on_scaled_logits_is_this_one_over_the_temperature():
    g = torch.Generator().manual_seed(0)
    plus, minus = (torch.rand(1000, generator=g, dtype=torch.float64) * 0.5 for _ in range(2))
    released = torch.nn.functional.margin_ranking_loss(
        plus / TAU, minus / TAU, torch.ones(1000, dtype=torch.float64), margin=2.0
    )
    ours = losses.ranking(plus, minus, 0.14) / TAU
    assert ours.item() == pytest.approx(released.item(), rel=1e-9)


def test_instance_accuracy_counts_positives_above_every_counted_negative():
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    positives = torch.tensor([[[0.9, 0.1], [0.1, 0.9]], [[0.0, 1.0], [1.0, 1.0]]])
    negatives = torch.tensor([[0.5, 0.5], [0.1, 2.0]])
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    # query 0: .99 and .11 against .71 -> 1 of 2; query 1: 1 and .71 against .999 -> 1 of 2
    assert losses.instance_accuracy(query, positives, negatives, nothing).item() == 0.5
    own = torch.tensor([[False, False], [True, True]])
    assert losses.instance_accuracy(query, positives, negatives, own).item() == 0.75


def test_cosine_against_torch():
    a, b = torch.randn(4, 3, 7, dtype=torch.float64), torch.randn(4, 3, 7, dtype=torch.float64)
    expected = torch.nn.functional.cosine_similarity(a, b, dim=-1)
    torch.testing.assert_close(losses.cosine(a, b), expected)
