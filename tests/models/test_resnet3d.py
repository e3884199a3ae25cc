import pytest
import torch
from torchvision.models import video

from support.backbones import assert_contract, shapes
from support.specs import COLOURS
from videossl.models import resnet3d
from videossl.study import schema


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def model(name, width=4, blocks=(1, 1, 1, 1)):
    return schema.Model(name=name, blocks=list(blocks), width=width, **COLOURS)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "peer", "count"),
    [("r3d", "r3d_18", 33_166_272), ("r2plus1d", "r2plus1d_18", 31_300_125)],
)
def test_is_torchvisions_network_with_its_weights(name, peer, count):
    reference = getattr(video, peer)(weights=None).eval()
    reference.fc = torch.nn.Identity()
    for module in reference.modules():  # fresh BN would hide a wrong order of layers
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    ours = resnet3d.build(model(name, 64, (2, 2, 2, 2))).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    assert parameters(ours) == parameters(reference) == count
    x = torch.randn(2, 3, 5, 36, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [((16, 64, 48), (2, 4, 3)), ((1, 16, 16), (1, 1, 1)), ((5, 33, 16), (1, 3, 1))],
)
def test_shapes(name, size, expected):
    net = resnet3d.build(model(name))
    x = torch.randn(2, 3, *size)
    features = net.forward_features(x)
    assert features.shape == (2, net.num_features, *expected)
    assert net(x).shape == (2, net.num_features) == (2, 32)


def test_feature_is_the_average_of_the_map():
    net = resnet3d.build(model("r3d")).eval()
    x = torch.randn(2, 3, 8, 32, 32)
    expected = net.forward_features(x).flatten(2).mean(2)
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
def test_stages_are_the_four_maps_in_order(name):
    assert_contract(resnet3d.build(model(name)), (8, 32, 44))
    with torch.device("meta"):
        net = resnet3d.build(model(name, 64, (2, 2, 2, 2)))
    assert shapes(net, (16, 112, 112)) == [
        (64, 16, 56, 56),
        (128, 8, 28, 28),
        (256, 4, 14, 14),
        (512, 2, 7, 7),
    ]


@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
def test_blocks_and_width_count(name):
    small, deep = resnet3d.build(model(name)), resnet3d.build(model(name, 4, (1, 2, 3, 1)))
    assert parameters(small) < parameters(deep)
    assert [len(s) for s in (deep.layer1, deep.layer2, deep.layer3, deep.layer4)] == [1, 2, 3, 1]
    assert resnet3d.build(model(name, 8)).num_features == 64


def test_factors_hold_at_most_the_weights_of_the_whole_convolution():
    for planes_in, planes in [(64, 64), (64, 128), (256, 512), (4, 4), (5, 9)]:
        middle = resnet3d.middle_planes(planes_in, planes)
        weights = middle * (9 * planes_in + 3 * planes)
        whole = 27 * planes_in * planes
        assert whole - (9 * planes_in + 3 * planes) < weights <= whole


def test_start_of_training_keeps_the_signal_finite_and_every_weight_learns():
    for name in ("r3d", "r2plus1d"):
        net = resnet3d.build(model(name))
        net(torch.randn(4, 3, 8, 16, 16)).square().mean().backward()
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().sum() > 0, key


def test_convolutions_start_with_variance_two_over_fan_out():
    net = resnet3d.build(model("r2plus1d", 32))
    stem, last = net.stem[0].weight, net.layer4[0].conv1[0][3].weight
    assert stem.var().item() == pytest.approx(2 / (22 * 49), rel=0.1)  # 45 * 32 // 64 planes
    assert last.var().item() == pytest.approx(2 / (256 * 3), rel=0.02)
    assert net.layer4[0].conv1[1].weight.eq(1).all()
    assert net.layer4[0].conv1[1].bias.eq(0).all()
