"""Batch norm over groups of clips, against torch's own on each group and against one process."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from support import ranks
from videossl import distributed
from videossl.job import UserError
from videossl.methods.base import shuffled
from videossl.models.batchnorm import GlobalBatchNorm, GroupedBatchNorm, apply_groups

CPU = torch.device("cpu")


def network(grouped: int | str | None, rows: int) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4, eps=1e-3, momentum=0.3)).double()
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    if grouped is not None:
        apply_groups(net, grouped, CPU, rows)
    return net


def clips(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    scale = torch.arange(1.0, rows + 1).view(-1, 1, 1, 1, 1)  # groups differ
    return (torch.randn(rows, 3, 2, 3, 3, generator=generator) * scale + scale).double()


@pytest.mark.parametrize("group", [2, 3, 6])
@pytest.mark.parametrize("sections", [1, 2])
def test_each_group_is_normalised_alone(group, sections):
    net, plain = network(group, 6), network(None, 6)
    x, weights = clips(6 * sections), torch.randn(6 * sections, 4, 2, 3, 3).double()
    found = net(x)
    expected = torch.cat([plain(part) for part in x.split(group)])
    torch.testing.assert_close(found, expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, a), b in zip(net.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_running_statistics_are_means_over_groups():
    net, x = network(3, 6), clips(6)
    net(x)
    seen = net[0](x).detach().numpy()
    means = np.stack([seen[k : k + 3].mean((0, 2, 3, 4)) for k in (0, 3)]).mean(0)
    variances = np.stack([seen[k : k + 3].var((0, 2, 3, 4), ddof=1) for k in (0, 3)]).mean(0)
    np.testing.assert_allclose(net[1].running_mean, 0.3 * means, rtol=1e-10)
    np.testing.assert_allclose(net[1].running_var, 0.7 + 0.3 * variances, rtol=1e-10)
    assert int(net[1].num_batches_tracked) == 1


def test_names_tensors_and_evaluation_stay():
    plain = network(None, 4)
    plain(clips(4))
    plain.eval()
    before, state, weight = plain(clips(4)), plain.state_dict(), plain[1].weight
    net = copy.deepcopy(plain)
    weight = net[1].weight
    assert apply_groups(net, 2, CPU, 4)
    assert isinstance(net[1], GroupedBatchNorm)
    assert net[1].weight is weight
    assert list(net.state_dict()) == list(state)
    assert torch.equal(net(clips(4)), before)


def test_all_on_one_rank_is_torchs_own():
    net = network(None, 4)
    assert not apply_groups(net, "all", CPU, 4)
    assert type(net[1]) is nn.BatchNorm3d


def test_one_group_is_not_several():
    assert not apply_groups(network(None, 4), 4, CPU, 4)


def test_a_layer_of_two_networks_stays_one():
    shared = nn.BatchNorm3d(4)
    both = nn.ModuleList([nn.Sequential(shared), nn.Sequential(nn.ReLU(), shared)])
    apply_groups(both, 2, CPU, 4)
    assert both[0][0] is both[1][1]
    assert isinstance(both[0][0], GroupedBatchNorm)


def test_groups_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(UserError, match=r"^bn_group = 4: must divide the 6 videos .* or be all$"):
        network(4, 6)
    net = network(2, 4)
    with pytest.raises(UserError, match="5 clips in a call of batch norm; allowed: a multiple of"):
        net(clips(5))


@pytest.mark.parametrize(("count", "group"), [(4, 2), (8, 2), (8, 4), (12, 3), (64, 8)])
def test_a_shuffle_keeps_no_group_together(count, group):
    orders = [shuffled(count, group, seed) for seed in range(60)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(count))
        for start in range(0, count, group):
            assert len({place // group for place in order[start : start + group].tolist()}) > 1
    assert torch.equal(orders[3], shuffled(count, group, 3))
    assert len({tuple(order.tolist()) for order in orders}) > (1 if count == 4 else 20)


# ------------------------------------------------------------------------------------ ranks

CASES: list[tuple[int | str, int]] = [
    (2, 1),  # groups lie on a rank each
    (4, 1),  # the second of three lies on both
    (12, 1),
    (4, 2),
    (12, 2),
    ("all", 2),
]


def _steps(group: int | str, sections: int, share: slice) -> dict[str, Any]:
    """Outputs and state of this rank after a step on its rows of each section."""
    net = network(group, 12 // distributed.world())
    rows = clips(12 * sections).view(sections, 12, 3, 2, 3, 3)
    weights = torch.randn(rows.shape[:2], generator=torch.Generator().manual_seed(2)).double()
    out = net(rows[:, share].flatten(0, 1))
    loss = (out.square() * weights[:, share].flatten().view(-1, 1, 1, 1, 1)).mean()
    loss.backward()
    distributed.average(p.grad for p in net.parameters())
    gradients = [p.grad for p in net.parameters()]
    return {"out": out.detach(), "gradients": gradients, "state": net.state_dict(), "net": net}


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)
    found = [_steps(group, sections, slice(6 * rank, 6 * rank + 6)) for group, sections in CASES]
    kinds = [type(step.pop("net")[1]) for step in found]
    assert kinds == [GroupedBatchNorm] * 5 + [GlobalBatchNorm]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_groups_do_not_depend_on_ranks(tmp_path):
    ranks.start(_rank, 2, str(tmp_path))
    made = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for place, (group, sections) in enumerate(CASES):
        alone = _steps(group, sections, slice(0, 12))
        outs = [rank[place]["out"].unflatten(0, (sections, 6)) for rank in made]
        torch.testing.assert_close(torch.cat(outs, dim=1).flatten(0, 1), alone["out"])
        for rank in made:
            torch.testing.assert_close(rank[place]["gradients"], alone["gradients"])
            torch.testing.assert_close(dict(rank[place]["state"]), dict(alone["state"]))
