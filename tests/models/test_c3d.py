from itertools import pairwise

import pytest
import torch

from support.backbones import assert_contract, assert_every_parameter_learns, parameters, shapes
from support.specs import COLOURS
from videossl.models import c3d
from videossl.study import schema


def build(width):
    return c3d.build(schema.C3D(name="c3d", width=width, **COLOURS))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_published_size_and_shapes():
    """Eight convolutions of 3x3x3 (Tran et al., figure 3) and two numbers per channel of BN."""
    planes = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    weights = sum(27 * a * b for a, b in pairwise(planes))
    with torch.device("meta"):
        net = build(64)
    assert parameters(net) == weights + 2 * sum(planes[1:]) == 27_658_688
    assert shapes(net, (16, 112, 112)) == [
        (128, 16, 56, 56),
        (256, 8, 28, 28),
        (512, 4, 14, 14),
        (512, 2, 7, 7),
    ]


@pytest.mark.parametrize("size", [(16, 64, 48), (8, 32, 32), (8, 44, 44), (2, 16, 16), (1, 1, 1)])
def test_no_clip_is_too_small(size):
    assert_contract(build(4), size)


def test_every_parameter_learns():
    assert_every_parameter_learns(build(4), (8, 32, 32))


def test_stages_are_convolutions_between_pools():
    net = build(4)
    kinds = [[len(stage), type(stage[0][0]).__name__] for stage in list(net.children())[:5]]
    assert kinds == [[n, "Conv3d"] for n in (1, 1, 2, 2, 2)]
    assert all(conv.bias is None for conv in net.modules() if isinstance(conv, torch.nn.Conv3d))
