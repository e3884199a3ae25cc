"""Released checkpoints, rebuilt with their published names around a plain forward pass.

``Published`` makes each weight where the pass first uses it, so that names, shapes and meaning are
stated once, apart from the networks under test.
"""

import argparse

import pytest
import torch
from torch.nn import functional

from support.backbones import assert_contract, assert_every_parameter_learns, parameters, shapes
from support.specs import COLOURS, IMAGENET
from videossl.job import UserError
from videossl.models import official, rspnet_nets
from videossl.models.inception import INCEPTION
from videossl.study import registry, schema

GENERATOR = torch.Generator()


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    torch.manual_seed(0)
    GENERATOR.manual_seed(3)
    for name in rspnet_nets.NETS:
        monkeypatch.setitem(registry.BACKBONES, name, "videossl.models.rspnet_nets")


class Published:
    """A forward pass whose weights come to be as it goes."""

    def __init__(self, eps=1e-5):
        self.state = {}
        self.eps = eps

    def _new(self, name, *shape, low=-1.0, high=1.0):
        value = torch.rand(shape, generator=GENERATOR) * (high - low) + low
        self.state[name] = value
        return value

    def conv(self, name, x, planes, kernel, stride=1, padding=0, bias=False):
        kernel = (kernel,) * 3 if isinstance(kernel, int) else kernel
        scale = 2 / (x.shape[1] * kernel[0] * kernel[1] * kernel[2]) ** 0.5
        weight = self._new(f"{name}.weight", planes, x.shape[1], *kernel, low=-scale, high=scale)
        offset = self._new(f"{name}.bias", planes) if bias else None
        return functional.conv3d(x, weight, offset, stride, padding)

    def norm(self, name, x):
        mean, shift = (self._new(f"{name}.{k}", x.shape[1]) for k in ("running_mean", "bias"))
        variance = self._new(f"{name}.running_var", x.shape[1], low=0.5, high=1.5)
        scale = self._new(f"{name}.weight", x.shape[1], low=0.5, high=1.5)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return functional.batch_norm(x, mean, variance, scale, shift, eps=self.eps)


def c3d(net, x, width):
    letters = ("1", "2", "3a", "3b", "4a", "4b", "5a", "5b")
    planes = [width * n for n in (1, 2, 4, 4, 8, 8, 8, 8)]
    for letter, count in zip(letters, planes, strict=True):
        x = net.conv(f"conv{letter}", x, count, 3, padding=1, bias=True)
        x = net.norm(f"bn{letter}", x).relu()
        if letter in ("1", "2", "3b", "4b"):
            x = functional.max_pool3d(x, (1, 2, 2) if letter == "1" else 2)
    return x


def resnet18(net, x, width):
    x = net.norm("bn1", net.conv("conv1", x, width, 7, (1, 2, 2), 3)).relu()
    x = functional.max_pool3d(x, 3, 2, 1)
    for layer in range(1, 5):
        for block in range(2):
            at, planes = f"layer{layer}.{block}", width * 2 ** (layer - 1)
            stride = 2 if layer > 1 and block == 0 else 1
            y = net.norm(f"{at}.bn1", net.conv(f"{at}.conv1", x, planes, 3, stride, 1)).relu()
            y = net.norm(f"{at}.bn2", net.conv(f"{at}.conv2", y, planes, 3, 1, 1))
            if stride == 2:
                x = net.conv(f"{at}.downsample.0", x, planes, 1, 2)
                x = net.norm(f"{at}.downsample.1", x)
            x = (x + y).relu()
    return x


def spatiotemporal(net, at, x, planes, kernel, stride=(1, 1, 1)):
    """VCOP's factorised convolution; ``kernel`` is (time, space)."""
    t, s = kernel
    middle = t * s * s * x.shape[1] * planes // (s * s * x.shape[1] + t * planes)
    space = ((1, s, s), (1, *stride[1:]), (0, s // 2, s // 2))
    x = net.norm(f"{at}.bn", net.conv(f"{at}.spatial_conv", x, middle, *space)).relu()
    time = ((t, 1, 1), (stride[0], 1, 1), (t // 2, 0, 0))
    return net.conv(f"{at}.temporal_conv", x, planes, *time)


def r2plus1d(net, x, width):
    x = net.norm("bn1", spatiotemporal(net, "conv1", x, width, (3, 7), (1, 2, 2))).relu()
    for layer in range(2, 6):
        at, planes = f"conv{layer}.block1", width * 2 ** (layer - 2)
        stride = (1, 1, 1) if layer == 2 else (2, 2, 2)
        y = spatiotemporal(net, f"{at}.conv1", x, planes, (3, 3), stride)
        y = spatiotemporal(net, f"{at}.conv2", net.norm(f"{at}.bn1", y).relu(), planes, (3, 3))
        if layer > 2:
            x = spatiotemporal(net, f"{at}.downsampleconv", x, planes, (1, 1), stride)
            x = net.norm(f"{at}.downsamplebn", x)
        x = (x + net.norm(f"{at}.bn2", y)).relu()
    return x


def basic(net, at, x, planes, kernel, stride=1, padding=0):
    return net.norm(f"{at}.bn", net.conv(f"{at}.conv3d", x, planes, kernel, stride, padding)).relu()


def gated(net, at, x, planes, k, stride=1):
    x = basic(net, f"{at}.sep_conv.0", x, planes, (1, k, k), stride, (0, k // 2, k // 2))
    x = basic(net, f"{at}.sep_conv.1", x, planes, (k, 1, 1), 1, (k // 2, 0, 0))
    pooled = functional.adaptive_avg_pool3d(x, 1)
    return x * net.conv(f"{at}.excitation", pooled, planes, 1, bias=True).sigmoid()


def s3dg(net, x, width):
    x = gated(net, "feature.sepConv1", x, width, 7, 2)
    x = functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = basic(net, "feature.basicConv3d", x, width, 1)
    x = gated(net, "feature.sep_conv2", x, 3 * width, 3)
    for name, planes in INCEPTION.items():
        if name == "3b":
            x = functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        elif name[1] == "b":
            x = functional.max_pool3d(x, 3, 2, 1) if name == "4b" else functional.max_pool3d(x, 2)
        at, p = f"feature.sepInc_{name}", [n * width // 64 for n in planes]
        one = gated(net, f"{at}.branch1.1", basic(net, f"{at}.branch1.0", x, p[1], 1), p[2], 3)
        two = gated(net, f"{at}.branch2.1", basic(net, f"{at}.branch2.0", x, p[3], 1), p[4], 3)
        pooled = functional.max_pool3d(x, 3, 1, 1)
        last = basic(net, f"{at}.branch3.1", pooled, p[5], 1)
        x = torch.cat([basic(net, f"{at}.branch0", x, p[0], 1), one, two, last], 1)
    return x


def slow50(net, x, width):
    at = "s1.pathway0_stem"
    x = net.conv(f"{at}.conv", x, width, (1, 7, 7), (1, 2, 2), (0, 3, 3))
    x = functional.max_pool3d(net.norm(f"{at}.bn", x).relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, blocks in zip(range(2, 6), (3, 4, 6, 3), strict=True):
        for block in range(blocks):
            at, inner = f"s{stage}.pathway0_res{block}", width * 2 ** (stage - 2)
            s = 2 if stage > 2 and block == 0 else 1
            t = 3 if stage > 3 else 1
            y = net.conv(f"{at}.branch2.a", x, inner, (t, 1, 1), 1, (t // 2, 0, 0))
            y = net.norm(f"{at}.branch2.a_bn", y).relu()
            y = net.conv(f"{at}.branch2.b", y, inner, (1, 3, 3), (1, s, s), (0, 1, 1))
            y = net.norm(f"{at}.branch2.b_bn", y).relu()
            y = net.conv(f"{at}.branch2.c", y, 4 * inner, 1)
            if block == 0:
                x = net.conv(f"{at}.branch1", x, 4 * inner, 1, (1, s, s))
                x = net.norm(f"{at}.branch1_bn", x)
            x = (x + net.norm(f"{at}.branch2.c_bn", y)).relu()
    return x


def model(name, width, blocks=(2, 2, 2, 2)):
    """An entry of ``backbone``, with the colours of its released weights."""
    if name == "slow":
        return schema.Slow(name="slow", depth=50, width=width, **COLOURS)
    if name == "c3d":
        return schema.C3D(name="c3d", width=width, **IMAGENET)
    if name == "s3dg_rspnet":
        return schema.Inception(name=name, width=width, **IMAGENET)
    return schema.Model(name=name, width=width, blocks=list(blocks), **IMAGENET)


RSPNET = {
    "c3d": (c3d, model("c3d", 8), 1e-5, "linear"),
    "resnet18": (resnet18, model("r3d_rspnet", 8), 1e-5, "fc"),
    "r2plus1d-vcop": (r2plus1d, model("r2plus1d_rspnet", 8, (1, 1, 1, 1)), 1e-5, "linear"),
    "s3dg": (s3dg, model("s3dg_rspnet", 16), 1e-3, "fc"),
}
CLIP = (2, 3, 16, 64, 64)


def clips():
    return torch.randn(CLIP, generator=torch.Generator().manual_seed(4))


def rspnet_checkpoint(arch):
    """As RSPNet's pretraining writes it: both encoders, heads, queue; and the encoder's map."""
    forward, spec, eps, classifier = RSPNET[arch]
    net = Published(eps)
    expected = forward(net, clips(), spec.width)
    encoder = {**net.state, f"{classifier}.weight": torch.zeros(1, 512)}
    state = {f"encoder_q.encoder.{k}": v for k, v in encoder.items()}
    state |= {f"encoder_k.encoder.{k}": torch.zeros_like(v) for k, v in encoder.items()}
    state |= {"encoder_q.fc1.2.weight": torch.zeros(128, 512), "queue": torch.zeros(128, 16)}
    return {"epoch": 200, "arch": arch, "best_loss": 3.2, "model": state}, expected


def zoo_checkpoint(prefix):
    net = Published()
    expected = slow50(net, clips(), 8)
    state = {prefix + k: v for k, v in net.state.items()}
    state[f"{prefix}head.projection.weight"] = torch.zeros(128, 2048)
    if prefix:
        state |= {f"backbone_hist.{k}": torch.zeros_like(v) for k, v in net.state.items()}
        state |= {"queue_x": torch.zeros(16, 128), "ptr": torch.tensor([0])}
    return {"epoch": 199, "model_state": state, "cfg": "TASK: ssl"}, expected


def features(net):
    with torch.no_grad():
        return net.eval().forward_features(clips())


@pytest.mark.parametrize("arch", list(RSPNET))
def test_rspnets_encoders_compute_what_they_did(arch, tmp_path, capsys):
    checkpoint, expected = rspnet_checkpoint(arch)
    torch.save(checkpoint, tmp_path / "rspnet.pth.tar")
    net = official.import_checkpoint(tmp_path / "rspnet.pth.tar", RSPNET[arch][1])
    assert expected.std() > 1e-2
    torch.testing.assert_close(features(net), expected, rtol=1e-5, atol=1e-5)
    counts = capsys.readouterr().out
    half = sum(key.startswith("encoder_k.") for key in checkpoint["model"])
    assert f"{half} of encoder_k" in counts
    assert "1 of queue" in counts
    assert f"1 of encoder_q.encoder.{RSPNET[arch][3]}" in counts


@pytest.mark.parametrize("prefix", ["backbone.", ""])
def test_pyslowfasts_encoders_compute_what_they_did(prefix, tmp_path, capsys):
    checkpoint, expected = zoo_checkpoint(prefix)
    torch.save(checkpoint, tmp_path / "slow.pyth")
    net = official.import_checkpoint(tmp_path / "slow.pyth", model("slow", 8))
    assert expected.std() > 1e-2
    torch.testing.assert_close(features(net), expected, rtol=1e-5, atol=1e-5)
    counts = capsys.readouterr().out
    assert "1 of backbone.head" in counts if prefix else "1 of head" in counts
    assert ("of backbone_hist" in counts) == bool(prefix)


def refused(checkpoint, path, spec, message):
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=message):
        official.import_checkpoint(path, spec)


def test_what_does_not_fit_is_named(tmp_path):
    path, spec = tmp_path / "c.pyth", model("slow", 8)
    checkpoint, _ = zoo_checkpoint("backbone.")
    state = checkpoint["model_state"]
    taken = state.pop("backbone.s2.pathway0_res1.branch2.b.weight")
    refused(checkpoint, path, spec, r"c\.pyth: stage2\.1\.body\.3\.weight: absent in the file")
    state["backbone.s2.pathway0_res1.branch2.b.weight"] = taken[:1]
    refused(checkpoint, path, spec, r"stage2\.1\.body\.3\.weight: \(1, 8, 1, 3, 3\) in the file")
    state["backbone.s2.pathway0_nonlocal1.conv.weight"] = taken
    refused(checkpoint, path, spec, r"backbone\.s2\.pathway0_nonlocal1\.conv\.weight: no such")


def test_other_layouts_and_backbones_are_refused(tmp_path):
    path = tmp_path / "c.pth"
    refused({"weights": {}, "x": 1}, path, model("slow", 8), r"c\.pth: unknown layout: .*'weights'")
    refused({}, path, model("slow", 8), r"first key is '\(empty\)'")
    refused(
        {"arch": "tsm", "model": {}}, path, model("slow", 8), r"arch = 'tsm': must be one of c3d"
    )
    message = r"holds RSPNet's s3dg, which is the backbone s3dg_rspnet; model\.name is s3dg$"
    refused(
        {"arch": "s3dg", "model": {}},
        path,
        schema.Inception(name="s3dg", width=64, **COLOURS),
        message,
    )


def test_other_colours_than_the_weights_were_trained_with_are_refused(tmp_path):
    checkpoint, _ = rspnet_checkpoint("c3d")
    spec = schema.C3D(name="c3d", width=8, **COLOURS)
    message = r"trained with mean = \[0\.485, 0\.456, 0\.406\]; the mean of .* is \[0\.45, "
    refused(checkpoint, tmp_path / "c.pth", spec, message)
    mixed = model("c3d", 8).model_copy(update={"std": [0.225] * 3})
    refused(checkpoint, tmp_path / "c.pth", mixed, r"trained with std = \[0\.229, ")


def test_files_that_are_no_weights_are_refused(tmp_path):
    path = tmp_path / "c.pth"
    refused(
        {"args": argparse.Namespace()}, path, model("slow", 8), "not a torch checkpoint of tensors"
    )
    refused([1], path, model("slow", 8), "holds a list, expected a mapping")
    path.write_bytes(b"no zip, no pickle")
    with pytest.raises(UserError, match=r"c\.pth: not a torch checkpoint"):
        official.import_checkpoint(path, model("slow", 8))


@pytest.mark.parametrize(
    ("name", "blocks", "count", "last"),
    [
        ("r3d_rspnet", (2, 2, 2, 2), 33_203_904, (512, 1, 4, 4)),
        ("r2plus1d_rspnet", (1, 1, 1, 1), 14_365_303, (512, 2, 7, 7)),
        ("s3dg_rspnet", (), 8_675_744, (1024, 2, 4, 4)),
    ],
)
def test_rspnets_own_networks(name, blocks, count, last):
    """14.4M for R(2+1)D, as its papers say; maps of a 16x112x112 clip."""
    with torch.device("meta"):
        net = rspnet_nets.build(model(name, 64, blocks))
    assert parameters(net) == count
    assert shapes(net, (16, 112, 112))[-1] == last
    small = rspnet_nets.build(model(name, 16, blocks))
    assert_contract(small, (8, 32, 44))
    assert_every_parameter_learns(small, (8, 32, 32))
