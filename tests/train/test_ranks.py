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

from support import pretext, ranked, ranks
from support.study import ROOT
from videossl import distributed
from videossl.models.batchnorm import GlobalBatchNorm, GroupedBatchNorm
from videossl.study.registry import METHODS
from videossl.train import pretrain

SCRIPT = str(ROOT / "tests/support/ranked.py")


def train(
    name: str,
    out: Path,
    world: int,
    accumulate: int = 1,
    group: int | str = "all",
    clip_norm: float = 0.0,
    torchrun: bool = False,
) -> list[Any]:
    """Final states of all ranks."""
    folder = out / f"{world}-{accumulate}-{group}"
    folder.mkdir(parents=True)
    arguments = (name, folder, accumulate, str(group), clip_norm)
    if torchrun:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--log-dir", str(out)]
        done = subprocess.run(
            [sys.executable, *launcher, "--nproc-per-node", str(world), SCRIPT]
            + [str(word) for word in arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    else:
        ranks.launch(ranked.main, world, *arguments)
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
    for rank in train("rspnet", tmp_path, 2, accumulate=2, torchrun=True):
        assert_close(one["state"], rank["state"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "group", "accumulate"),
    [
        ("rho_moco", 2, 1),  # groups on each rank, keys shuffled over all
        ("rspnet", 4, 1),  # a rank's rows
        ("rho_simclr", 8, 1),  # a group on both ranks
        ("vtdl", 4, 2),  # a rank has two rows of a part
        ("order_geometry", 4, 1),  # several clips of a video in one call
        ("v3s", 8, 1),
    ],
)
def test_groups_of_batch_norm_are_the_same_on_two_ranks(
    name: str, group: int, accumulate: int, tmp_path: Path
) -> None:
    (one,) = train(name, tmp_path, 1, accumulate, group)
    for rank in train(name, tmp_path, 2, accumulate, group):
        assert_close(one["state"], rank["state"])
    if name == "rho_moco":
        assert int(one["state"]["key_encoder.calls"]) == 8  # 2 clips x 4 steps, one rank too
        (whole,) = train(name, tmp_path, 1)
        key = next(k for k in whole["state"] if k.startswith("encoder.") and k.endswith("weight"))
        assert not torch.allclose(whole["state"][key], one["state"][key], rtol=1e-3)


@pytest.mark.slow
def test_shuffled_keys_come_back_to_their_queries(tmp_path: Path) -> None:
    (one,) = train("rho_moco", tmp_path, 1, group="unshuffled-none")
    assert int(one["state"].pop("key_encoder.calls")) == 0
    for world in (1, 2):
        for rank in train("rho_moco", tmp_path, world, group="none"):
            assert int(rank["state"].pop("key_encoder.calls")) == 8
            assert_close(one["state"], rank["state"])


@pytest.mark.slow
def test_shuffled_keys_have_the_statistics_of_other_rows(tmp_path: Path) -> None:
    apart, shuffled = (train("rho_moco", tmp_path, 1, 1, g)[0] for g in ("unshuffled-2", 2))
    for state in (apart["state"], shuffled["state"]):
        state["keys"] = state["queue.keys"][state["queue.videos"] >= 0]
    assert not torch.allclose(apart["state"]["keys"], shuffled["state"]["keys"], rtol=1e-3)


@pytest.mark.slow
def test_the_gradient_of_all_ranks_is_clipped(tmp_path: Path) -> None:
    (free,) = train("rspnet", tmp_path / "free", 1)
    (one,) = train("rspnet", tmp_path, 1, clip_norm=0.2)
    weight = next(key for key in one["state"] if key.endswith("weight"))
    assert not torch.allclose(free["state"][weight], one["state"][weight], rtol=1e-3)
    for rank in train("rspnet", tmp_path, 2, clip_norm=0.2):
        assert_close(one["state"], rank["state"])


@pytest.mark.parametrize(("world", "group"), [(2, "all"), (1, "all"), (1, 4), (2, 4), (2, 8)])
def test_a_run_switches_on_what_its_batch_norm_needs(
    world: int, group: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "active", lambda: world > 1)
    monkeypatch.setattr(distributed, "world", lambda: world)
    method = pretext.build("rho_moco")
    pretrain._spread(method, pretext.budget(), group)
    layers = [m for m in method.modules() if isinstance(m, _BatchNorm)]
    assert len(layers) >= 10  # the online encoder and the one of the keys
    grouped = [m for m in layers if isinstance(m, GroupedBatchNorm)]
    synchronised = [m for m in layers if isinstance(m, GlobalBatchNorm | torch.nn.SyncBatchNorm)]
    if group == "all":
        assert not grouped
        assert len(synchronised) == (len(layers) if world > 1 else 0)
    else:
        assert [(m.group, m.rows) for m in grouped] == [(group, 8 // world)] * len(layers)
    several = group not in ("all", 8)
    assert method.key_encoder.group == (group if several else 0)


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
