"""Two ranks compute what one process does with the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.modules.batchnorm import _BatchNorm

from support import pretext
from support.study import ROOT
from videossl import distributed
from videossl.methods.base import MomentumEncoder
from videossl.models.batchnorm import GlobalBatchNorm, synchronise
from videossl.study import params
from videossl.study.registry import METHODS
from videossl.train import pretrain

SCRIPT = ROOT / "tests/support/ranked.py"


def train(
    name: str,
    out: Path,
    world: int,
    accumulate: int = 1,
    norms: str = "sync",
    clip_norm: float = 0.0,
) -> list[Any]:
    """Final states of all ranks."""
    folder = out / f"{world}-{accumulate}-{norms}"
    folder.mkdir(parents=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--log-dir", str(out)]
    command = [
        sys.executable,
        *([*launcher, "--nproc-per-node", str(world)] if world > 1 else []),
        *(str(SCRIPT), name, str(folder), str(accumulate), norms, str(clip_norm)),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank{r}of{world}.pt") for r in range(world)]


def assert_close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, b[name], rtol=1e-7, atol=1e-9, msg=name)
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(value, b[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS))
def test_two_ranks_are_one_process(name: str, tmp_path: Path) -> None:
    (one,) = train(name, tmp_path, 1)
    two = train(name, tmp_path, 2)
    for rank in two:
        assert_close(one["state"], rank["state"])
        for a, b in zip(one["curve"], rank["curve"], strict=True):
            assert a.keys() == b.keys()
            for key, value in a.items():
                assert value == pytest.approx(b[key], rel=1e-5, abs=1e-6), key
    queues = [key for key in one["state"] if key.endswith("queue.videos")]
    for key in queues:
        held = two[0]["state"][key]
        assert torch.equal(held, two[1]["state"][key])
        assert len(set(held[held >= 0].tolist())) > 4  # a rank sees 4 of a batch's 8 videos


@pytest.mark.slow
def test_parts_of_a_step_are_spread_over_ranks_too(tmp_path: Path) -> None:
    (one,) = train("rspnet", tmp_path, 1, accumulate=2)
    for rank in train("rspnet", tmp_path, 2, accumulate=2):
        assert_close(one["state"], rank["state"])


@pytest.mark.slow
def test_shuffled_keys_agree_on_all_ranks(tmp_path: Path) -> None:
    first, second = train("rho_moco", tmp_path, 2, norms="shuffle")
    assert int(first["state"]["target.calls"]) == 8  # 2 clips x 4 steps
    learnt = {
        key: value
        for key, value in first["state"].items()
        if "running" not in key and "tracked" not in key
    }
    assert_close(learnt, {key: second["state"][key] for key in learnt})


@pytest.mark.slow
def test_shuffled_keys_come_back_to_their_queries(tmp_path: Path) -> None:
    (one,) = train("rho_moco", tmp_path, 1, norms="none")
    for rank in train("rho_moco", tmp_path, 2, norms="none"):
        assert int(rank["state"].pop("target.calls")) == 8
        assert_close({k: v for k, v in one["state"].items() if k != "target.calls"}, rank["state"])


@pytest.mark.slow
def test_shuffled_keys_have_the_statistics_of_other_rows(tmp_path: Path) -> None:
    apart, shuffled = (train("rho_moco", tmp_path, 2, norms=n)[0] for n in ("apart", "shuffle"))
    key = next(k for k in apart["state"] if k.startswith("target.") and "running_mean" in k)
    assert not torch.allclose(apart["state"][key], shuffled["state"][key], rtol=1e-3)


@pytest.mark.slow
def test_the_gradient_of_all_ranks_is_clipped(tmp_path: Path) -> None:
    (free,) = train("rspnet", tmp_path / "free", 1)
    (one,) = train("rspnet", tmp_path, 1, clip_norm=0.2)
    weight = next(key for key in one["state"] if key.endswith("weight"))
    assert not torch.allclose(free["state"][weight], one["state"][weight], rtol=1e-3)
    for rank in train("rspnet", tmp_path, 2, clip_norm=0.2):
        assert_close(one["state"], rank["state"])


@pytest.mark.parametrize("sync_bn", [True, False])
def test_a_run_on_several_ranks_switches_on_what_its_batch_norm_needs(
    sync_bn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "active", lambda: True)
    method = pretext.build("rho_moco")
    spec = params.load(ROOT / "params.yaml").pretrain.model_copy(update={"sync_bn": sync_bn})
    pretrain._spread(method, spec)
    layers = [m for m in method.modules() if isinstance(m, _BatchNorm)]
    kinds = (GlobalBatchNorm, torch.nn.SyncBatchNorm)
    assert len(layers) >= 10  # the online encoder and the one of the keys
    assert all(isinstance(m, kinds) == sync_bn for m in layers)
    assert all(m.shuffle != sync_bn for m in method.modules() if isinstance(m, MomentumEncoder))


@given(parts=st.integers(1, 5), per=st.integers(1, 6), world=st.integers(1, 5))
def test_ranks_share_every_part_in_order(parts: int, per: int, world: int) -> None:
    size = per * world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "world", lambda: world)
        shares = []
        for rank in range(world):
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            shares.append(distributed.rows(parts * size, parts))
    for part in range(parts):
        together = [row for share in shares for row in share[part * per : (part + 1) * per]]
        assert together == list(range(part * size, (part + 1) * size))


def test_one_rank_is_no_rank() -> None:
    x = torch.ones(3, requires_grad=True)
    assert (distributed.rank(), distributed.world(), distributed.active()) == (0, 1, False)
    assert distributed.gather_with_gradient(x) is x
    assert distributed.total(x) is x
    assert distributed.any_of(True, torch.device("cpu"))
    distributed.average([x])
    assert distributed.averaged({"a": x[0]}) == {"a": x[0]}


def test_synchronising_keeps_names_tensors_and_evaluation() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 1), torch.nn.BatchNorm3d(4, eps=1e-3))
    module(torch.randn(2, 3, 2, 4, 4))
    module.eval()
    x = torch.randn(2, 3, 2, 4, 4)
    before, state, weight = module(x), module.state_dict(), module[1].weight
    synchronise(module, torch.device("cpu"))
    assert isinstance(module[1], GlobalBatchNorm)
    assert module[1].weight is weight
    assert list(module.state_dict()) == list(state)
    assert torch.equal(module(x), before)
