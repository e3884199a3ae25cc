"""torchvision's video networks: their weights give their own features."""

from functools import partial

import pytest
import torch
from torchvision.models import video

from support.backbones import assert_contract, assert_every_parameter_learns, parameters, shapes
from support.specs import COLOURS, KINETICS
from videossl.job import UserError
from videossl.models import official, weights
from videossl.study import schema

CLIP = (2, 3, 16, 64, 64)  # of even maps: the last pool of our S3D rounds up
SHORT = [1, 1, 1, 1]  # blocks of the two large ones; the names of their weights stay the same


def spec(name, width=64, blocks=(2, 2, 2, 2), **colours):
    colours = colours or KINETICS
    if name.startswith("s3d"):
        return schema.Inception(name=name, width=width, **colours)
    return schema.Model(name=name, width=width, blocks=list(blocks), **colours)


def residual(convolutions, stem):
    """What ``r3d_18`` and ``r2plus1d_18`` call, with half as many blocks."""
    return video.resnet.VideoResNet(video.resnet.BasicBlock, [convolutions] * 4, SHORT, stem)


THEIRS = {
    "r3d": partial(residual, video.resnet.Conv3DSimple, video.resnet.BasicStem),
    "mc3": video.mc3_18,
    "r2plus1d": partial(residual, video.resnet.Conv2Plus1D, video.resnet.R2Plus1dStem),
    "s3d": video.s3d,
}


def checkpoint(name, path):
    """A network of torchvision's as if it were trained: no statistic is at its start."""
    torch.manual_seed(3)
    net = THEIRS[name]().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    torch.save(net.state_dict(), path)
    return net


def their_map(net, x):
    """The map before pooling."""
    if hasattr(net, "features"):
        return net.features(x)
    for stage in (net.stem, net.layer1, net.layer2, net.layer3, net.layer4):
        x = stage(x)
    return x


@pytest.mark.parametrize("name", list(THEIRS))
def test_features_are_theirs(name, tmp_path, capsys):
    theirs = checkpoint(name, tmp_path / "w.pth")
    blocks = (2, 2, 2, 2) if name == "mc3" else SHORT
    ours = official.import_checkpoint(tmp_path / "w.pth", spec(name, 64, blocks)).eval()
    x = torch.randn(CLIP, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected, found = their_map(theirs, x), ours.forward_features(x)
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    head = "classifier" if name == "s3d" else "fc"
    assert f"not used: 2 of {head}\n" in capsys.readouterr().out


def test_each_is_known_from_the_others_and_colours_are_checked(tmp_path):
    path = tmp_path / "w.pth"
    checkpoint("mc3", path)
    with pytest.raises(UserError, match=r"holds torchvision's mc3_18, which is the backbone mc3"):
        official.import_checkpoint(path, spec("r3d"))
    with pytest.raises(
        UserError, match=r"was trained with mean = \[0\.43216, 0\.394666, 0\.37645\]"
    ):
        official.import_checkpoint(path, spec("mc3", **COLOURS))
    state = torch.load(path)
    del state["layer3.0.downsample.0.weight"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"layer3\.0\.downsample\.0\.weight: absent in the file"):
        official.import_checkpoint(path, spec("mc3"))


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [("mc3", 11_490_240, (512, 16, 7, 7)), ("s3d", 7_910_048, (1024, 2, 4, 4))],
)
def test_the_two_that_have_no_page_of_their_own(name, count, last):
    """As torchvision's have without a classifier; MC3 keeps time (Tran et al., table 1)."""
    with torch.device("meta"):
        net = weights.build(spec(name))
        theirs = THEIRS[name]()
    head = sum(p.numel() for k, p in theirs.named_parameters() if k.startswith(("fc", "class")))
    assert parameters(net) == parameters(theirs) - head == count
    assert shapes(net, (16, 112, 112))[-1] == last
    small = weights.build(spec(name, 16, (1, 1, 1, 1)))
    assert_contract(small, (8, 32, 44))
    assert_every_parameter_learns(small, (8, 32, 32))
