"""Maps of the 3D networks end in a ReLU: similarities, which take roots, fit all their stages."""

from __future__ import annotations

import pytest
import torch

from support.specs import COLOURS
from videossl.models import weights
from videossl.study import schema

SMALL = {
    **{
        name: schema.Model(name=name, blocks=[1, 1, 1, 1], width=4, **COLOURS)
        for name in ("r3d", "mc3", "r2plus1d", "r3d_rspnet", "r2plus1d_rspnet")
    },
    "c3d": schema.C3D(name="c3d", width=4, **COLOURS),
    **{
        name: schema.Inception(name=name, width=8, **COLOURS)
        for name in ("i3d", "s3d", "s3dg", "s3dg_rspnet")
    },
    "slow": schema.Slow(name="slow", depth=18, width=4, **COLOURS),
}


@pytest.mark.parametrize("name", SMALL)
def test_no_map_is_negative(name):
    torch.manual_seed(0)
    encoder = weights.build(SMALL[name]).eval()
    with torch.no_grad():
        maps = encoder.stages(torch.randn(1, 3, 8, 32, 32))
    assert [float(m.min()) < 0 for m in maps] == [False] * 4
    assert any(m.max() > 0 for m in maps)
