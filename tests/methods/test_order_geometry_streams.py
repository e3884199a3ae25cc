"""Two streams that share their first stages, for every backbone."""

import pytest
import torch

from support.specs import COLOURS
from videossl.methods import order_geometry
from videossl.models import c3d, inception, inflate, resnet3d, slow
from videossl.study import schema

BACKBONES = {
    "r3d": lambda: resnet3d.build(
        schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS)
    ),
    "r2plus1d": lambda: resnet3d.build(
        schema.Model(name="r2plus1d", blocks=[1, 2, 1, 1], width=4, **COLOURS)
    ),
    "c3d": lambda: c3d.build(schema.C3D(name="c3d", width=4, **COLOURS)),
    "s3dg": lambda: inception.build(schema.Inception(name="s3dg", width=8, **COLOURS)),
    "slow": lambda: slow.build(schema.Slow(name="slow", depth=18, width=4, **COLOURS)),
    "inflated": lambda: inflate.build(
        schema.Inflated(
            name="inflated", timm="regnety_002", weights="none", output_stride=16, **COLOURS
        )
    ),
}


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("shared", range(5))
def test_the_first_stages_of_both_streams_are_one(backbone, shared):
    torch.manual_seed(0)
    encoder = BACKBONES[backbone]()
    other = order_geometry.partner(encoder, shared)
    x = torch.randn(2, 3, 4, 32, 32)
    encoder.eval(), other.eval()
    for mine, copied in zip(encoder.stages(x), other.stages(x), strict=True):
        torch.testing.assert_close(mine, copied)  # it starts as a copy
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1)
    equal = [
        torch.equal(mine, copied)
        for mine, copied in zip(encoder.stages(x), other.stages(x), strict=True)
    ]
    assert equal == [True] * shared + [False] * (4 - shared)
    both = {id(p) for p in encoder.parameters()} & {id(p) for p in other.parameters()}
    assert bool(both) == (shared > 0)
    buffers = {id(b) for b in encoder.buffers()} & {id(b) for b in other.buffers()}
    assert bool(buffers) == (shared > 0)
