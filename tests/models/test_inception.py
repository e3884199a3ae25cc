import pytest
import torch
from torchvision.models import video

from support.backbones import assert_contract, assert_every_parameter_learns, parameters, shapes
from support.specs import COLOURS
from videossl.models import inception
from videossl.study import schema


def build(width, name="s3dg"):
    return inception.build(schema.Inception(name=name, width=width, **COLOURS))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def separable(before, planes, size):
    """Weights of a gated separable convolution: space, time, two norms, gate with its bias."""
    return size**2 * before * planes + size * planes**2 + 4 * planes + planes**2 + planes


def joint(before, planes, size):
    """Weights of a convolution of three equal sides, with its norm."""
    return size**3 * before * planes + 2 * planes


@pytest.mark.parametrize(
    ("name", "convolution", "count"),
    [("s3dg", separable, 8_675_744), ("i3d", joint, 12_287_264)],
)
def test_published_size_and_shapes(name, convolution, count):
    """Planes of Inception-v1; 64 frames of 224 pixels give 8x7x7 as in the papers."""
    before = 192
    expected = convolution(3, 64, 7) + joint(64, 64, 1) + convolution(64, 192, 3)
    for p in inception.INCEPTION.values():
        expected += sum(joint(before, p[i], 1) for i in (0, 1, 3, 5))
        expected += convolution(p[1], p[2], 3) + convolution(p[3], p[4], 3)
        before = p[0] + p[2] + p[4] + p[5]
    with torch.device("meta"):
        net = build(64, name)
    assert before == net.num_features == 1024
    assert parameters(net) == expected == count
    assert shapes(net, (64, 224, 224)) == [
        (192, 32, 56, 56),
        (480, 32, 28, 28),
        (832, 16, 14, 14),
        (1024, 8, 7, 7),
    ]


def test_i3d_convolves_space_and_time_at_once():
    """Each kernel has three sides, and nothing but the stem and the pools strides."""
    net = build(8, "i3d")
    kernels = [m for m in net.modules() if isinstance(m, torch.nn.Conv3d)]
    assert {m.kernel_size for m in kernels} == {(7, 7, 7), (3, 3, 3), (1, 1, 1)}
    strided = [(m.kernel_size, m.stride) for m in kernels if m.stride != (1, 1, 1)]
    assert strided == [((7, 7, 7), (2, 2, 2))]


def test_is_torchvisions_s3d_but_for_the_gates():
    """Without gates, S3D of torchvision has the same number of weights (classifier apart)."""
    with torch.device("meta"):
        reference, net = video.s3d(), build(64)
    gates = sum(p.numel() for name, p in net.named_parameters() if ".gate." in f".{name}")
    assert parameters(net) - gates == parameters(reference.features)


@pytest.mark.parametrize("width", [8, 16, 64])
def test_width_scales_every_layer(width):
    with torch.device("meta"):
        net, full = build(width), build(64)
    for ours, published in zip(net.parameters(), full.parameters(), strict=True):
        assert ours.shape[0] * 64 == published.shape[0] * width


@pytest.mark.parametrize("size", [(16, 64, 48), (8, 32, 32), (8, 44, 44), (1, 16, 16)])
@pytest.mark.parametrize("name", ["s3dg", "i3d"])
def test_no_clip_is_too_small(name, size):
    assert_contract(build(8, name), size)


@pytest.mark.parametrize("name", ["s3dg", "i3d"])
def test_every_parameter_learns(name):
    assert_every_parameter_learns(build(16, name), (8, 32, 32))


def test_batch_norm_is_tensorflows():
    for module in build(8).modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            assert (module.eps, module.momentum) == (1e-3, 1e-3)


def test_the_papers_stem_sees_every_frame():
    for skips in (False, True):
        net = inception.InceptionNet(8, inception.GatedSeparable, skip_frames=skips).eval()
        x = torch.randn(1, 3, 8, 32, 32)
        y = x.clone()
        y[:, :, 1::2] += 1
        assert torch.equal(net(x), net(y)) == skips


def test_a_gate_scales_channels_by_the_pooled_map():
    block = inception.GatedSeparable(2, 3, 3, ((1, 1, 1), (1, 1, 1))).eval()
    x = torch.randn(2, 2, 4, 5, 6)
    plain = block.time(block.space(x))
    linear = plain.flatten(2).mean(2) @ block.gate.weight.flatten(1).T + block.gate.bias
    expected = plain * linear.sigmoid()[:, :, None, None, None]
    torch.testing.assert_close(block(x), expected)
