"""Contrast over the rows of a batch whose motion clips move."""

import numpy as np
import pytest
import torch

from videossl import distributed
from videossl.methods import losses, modist


def parts(batch=8, keys=10, dim=4):
    x = [torch.randn(batch, dim, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    return x[0], x[1], torch.randn(keys, dim, dtype=torch.float64), torch.rand(batch, keys) < 0.3


@pytest.mark.parametrize("pattern", [[1, 0, 1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1]])
def test_rows_that_are_left_out_have_no_part_and_no_gradient(pattern):
    query, key, bank, mask = parts()
    kept = torch.tensor(pattern).bool()
    loss = modist.contrast(query, key, bank, mask, 0.1, kept)
    alone = losses.info_nce(query[kept], key[kept].unsqueeze(1), bank, 0.1, mask[kept])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-9)
    loss.backward()
    for x in (query, key):
        assert x.grad[~kept].abs().sum() == 0
        assert x.grad[kept].abs().sum(1).min() > 0


def test_no_moving_row_is_no_loss():
    query, key, bank, mask = parts()
    loss = modist.contrast(query, key, bank, mask, 0.1, torch.zeros(8, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert query.grad.abs().sum() == 0


@pytest.mark.parametrize("pattern", [[1, 0, 1, 1, 0, 0, 1, 0], [0] * 8, [0, 0, 0, 0, 0, 0, 0, 1]])
def test_the_mean_over_moving_rows_is_that_of_all_ranks(pattern, monkeypatch):
    query, key, bank, mask = parts()
    kept = torch.tensor(pattern).bool()
    whole = modist.contrast(query, key, bank, mask, 0.1, kept)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "total", lambda x: kept.float().sum())
    halves = [
        modist.contrast(query[rows], key[rows], bank, mask[rows], 0.1, kept[rows]).item()
        for rows in (slice(0, 4), slice(4, 8))
    ]
    assert np.mean(halves) == pytest.approx(whole.item(), rel=1e-9)
