import pytest
import timm
import torch
from safetensors.torch import save_file

from support.backbones import assert_contract, assert_every_parameter_learns, shapes
from support.specs import COLOURS
from videossl.job import UserError
from videossl.models import inflate
from videossl.study import schema

TESTED = ["resnet18", "resnet50", "seresnext50_32x4d", "resnet26d", "regnety_002"]


def build(name, weights="none", output_stride=32):
    return inflate.build(
        schema.Inflated(
            name="inflated", timm=name, weights=str(weights), output_stride=output_stride, **COLOURS
        )
    )


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def trained(name, classes=0):
    """A 2D network whose residual branches and norms are not at their start, so that all count."""
    net = timm.create_model(name, pretrained=False, num_classes=classes).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.3, 0.6)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    return net


@pytest.mark.parametrize("name", TESTED)
def test_a_still_video_gives_the_images_features_at_every_frame(name, tmp_path):
    flat = trained(name)
    save_file(flat.state_dict(), tmp_path / "flat.safetensors")
    net = build(name, tmp_path / "flat.safetensors").eval()
    image = torch.randn(2, 3, 48, 40)
    clip = image.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    with torch.no_grad():
        expected, found = flat.forward_features(image), net.forward_features(clip)
        assert expected.std() > 1e-3
        for frame in found.unbind(2):
            torch.testing.assert_close(frame, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(clip), flat(image), rtol=1e-4, atol=1e-5)
    assert net.num_features == flat.num_features


def test_a_kernel_of_three_taps_holds_a_third_of_the_2d_weights_each(tmp_path):
    flat = trained("resnet18", classes=7)
    torch.save({"state_dict": flat.state_dict()}, tmp_path / "flat.pth")  # classifier left out
    trunk = build("resnet18", tmp_path / "flat.pth").trunk
    kernel = flat.layer1[0].conv1.weight
    assert trunk.layer1[0].conv1.weight.shape == (64, 64, 3, 3, 3)
    for tap in trunk.layer1[0].conv1.weight.unbind(2):
        assert torch.equal(tap, kernel / 3)
    shortcut = trunk.layer2[0].downsample[0].weight
    assert torch.equal(shortcut.squeeze(2), flat.layer2[0].downsample[0].weight)


@pytest.mark.parametrize(
    ("name", "stride"), [("seresnext50_32x4d", 8), ("resnet26d", 16), ("regnety_002", 8)]
)
def test_a_dilated_network_has_a_larger_map_of_the_same_weights(name, stride, tmp_path):
    flat = trained(name)
    save_file(flat.state_dict(), tmp_path / "flat.safetensors")
    dilated = build(name, tmp_path / "flat.safetensors", stride).eval()
    usual = build(name, tmp_path / "flat.safetensors").eval()
    state = dilated.state_dict()
    assert all(torch.equal(state[key], value) for key, value in usual.state_dict().items())
    expected = timm.create_model(name, pretrained=False, num_classes=0, output_stride=stride).eval()
    expected.load_state_dict(flat.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for frame in dilated.forward_features(image.unsqueeze(2).expand(-1, -1, 2, -1, -1)).unbind(
            2
        ):
            assert frame.shape[2:] == (64 // stride, 96 // stride)
            torch.testing.assert_close(
                frame, expected.forward_features(image), rtol=1e-4, atol=1e-5
            )


def test_the_map_of_the_ultrasound_paper():
    net = build("seresnext50_32x4d", output_stride=8).to("meta")
    found = shapes(net, (2, 224, 288))  # Jiao et al., ISBI 2020: 28 x 36
    assert [shape[2:] for shape in found] == [(56, 72), (28, 36), (28, 36), (28, 36)]
    usual = build("seresnext50_32x4d").to("meta")
    assert shapes(usual, (2, 224, 288))[-1][2:] == (7, 9)


def test_moving_frames_are_seen():
    net = build("resnet18").eval()
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(net(x), net(x[:, :, [0, 2, 1, 3]]), rtol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "seresnext50_32x4d", "regnety_002"])
def test_contract(name):
    assert_contract(build(name), (8, 32, 32))


def test_every_parameter_learns(tmp_path):
    save_file(trained("resnet26d").state_dict(), tmp_path / "flat.safetensors")
    assert_every_parameter_learns(build("resnet26d", tmp_path / "flat.safetensors"), (2, 64, 64))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "vit_tiny_patch16_224",
            r"VisionTransformer cannot be inflated to 3D; .* ResNet, RegNet can",
        ),
        ("ecaresnet26t", r"'ecaresnet26t': layer1\.0\.se: .*EcaModule cannot be inflated to 3D"),
        ("resnet1", r"model\.timm = 'resnet1': Unknown model"),
    ],
)
def test_other_networks_are_refused_by_name(name, message):
    with pytest.raises(UserError, match=message):
        build(name)


def test_a_network_that_cannot_be_dilated_is_refused_by_name():
    with pytest.raises(UserError, match=r"'vit_tiny_patch16_224': .*output_stride"):
        build("vit_tiny_patch16_224", output_stride=16)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "flat.safetensors"
    save_file(trained("resnet26d").state_dict(), path)
    with pytest.raises(UserError, match=r"flat\.safetensors: conv1\.weight: absent in the file"):
        build("resnet18", path)
    with pytest.raises(UserError, match=r"absent\.pth: no such file of weights"):
        build("resnet18", tmp_path / "absent.pth")
