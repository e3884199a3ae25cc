"""2D residual networks of timm (ResNet and RegNet families), inflated to 3D.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
Dataset", CVPR 2017 (section 2.4): a k x k kernel becomes t x k x k, its weights repeated t
times and divided by t, so that a video of one still image gives the features of that image.

Decisions: t is 1 for 1x1 convolutions and 3 for all others; nothing strides or pools time, as in
the Slow pathway; and time is padded by repeating the first and last frame instead of by zeros, so
that the sentence above holds for every frame of the output, to rounding, and not only far from the
clip's ends. Random weights are timm's own, inflated alike: its residual branches start at zero.
Dilation, where ``output_stride`` asks for it, is in space only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.activations import Sigmoid
from timm.layers.conv_bn_act import ConvNormAct
from timm.layers.drop import DropPath
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.pool2d_same import AvgPool2dSame
from timm.layers.squeeze_excite import SEModule
from timm.models import regnet, resnet
from torch import Tensor, nn

from videossl.job import UserError
from videossl.models import weights
from videossl.models.backbone import Backbone
from videossl.study import schema

# Networks whose children, called in order, are ``forward_features``; and blocks of any dimension.
SEQUENTIAL_NETS = (resnet.ResNet, regnet.RegNet)
BLOCKS = (
    resnet.BasicBlock, resnet.Bottleneck, regnet.RegStage, regnet.Bottleneck,
    ConvNormAct, nn.Sequential,
)  # fmt: skip
POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid,
    nn.Identity, nn.Dropout, DropPath, Sigmoid,
)  # fmt: skip
HEAD = ("global_pool", "fc", "head")


class TimePaddedConv3d(nn.Conv3d):
    """A convolution that repeats the first and last frame to keep the number of frames."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        if self.kernel_size[0] == 3:
            x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        return super().forward(x)


class SqueezeExcite(nn.Module):
    """timm's squeeze-and-excitation, squeezing time too."""

    def __init__(self, flat: nn.Module) -> None:
        super().__init__()
        parts = {name: inflate(child, name) for name, child in flat.named_children()}
        self.fc1, self.bn, self.act = parts["fc1"], parts["bn"], parts["act"]
        self.fc2, self.gate = parts["fc2"], parts["gate"]

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (B, C, T, H, W)."""
        gate = self.fc1(x.mean(dim=(2, 3, 4), keepdim=True))
        out: Tensor = x * self.gate(self.fc2(self.act(self.bn(gate))))
        return out


def _convolution(flat: nn.Conv2d) -> nn.Module:
    taps = 1 if flat.kernel_size == (1, 1) else 3
    kernel, stride, padding, dilation = (
        _pair(x) for x in (flat.kernel_size, flat.stride, flat.padding, flat.dilation)
    )
    deep = TimePaddedConv3d(
        flat.in_channels,
        flat.out_channels,
        (taps, *kernel),
        (1, *stride),
        (0, *padding),
        (1, *dilation),
        flat.groups,
        flat.bias is not None,
    )
    deep.weight.data.copy_(flat.weight.data.unsqueeze(2) / taps)
    if flat.bias is not None and deep.bias is not None:
        deep.bias.data.copy_(flat.bias.data)
    return deep


def _norm(flat: nn.BatchNorm2d) -> nn.Module:
    deep = nn.BatchNorm3d(flat.num_features, flat.eps, flat.momentum)
    deep.load_state_dict({name: flat.state_dict()[name] for name in deep.state_dict()})
    return deep


def _norm_and_activation(flat: nn.Module) -> nn.Module:
    assert isinstance(flat, nn.BatchNorm2d)
    parts = [inflate(part, name) for name, part in flat.named_children()]
    return nn.Sequential(_norm(flat), *parts)


def _max_pool(flat: nn.MaxPool2d) -> nn.Module:
    kernel, stride, padding = (_pair(x) for x in (flat.kernel_size, flat.stride, flat.padding))
    return nn.MaxPool3d((1, *kernel), (1, *stride), (0, *padding), ceil_mode=flat.ceil_mode)


def _average_pool(flat: nn.AvgPool2d) -> nn.Module:
    kernel, stride, padding = (_pair(x) for x in (flat.kernel_size, flat.stride, flat.padding))
    return nn.AvgPool3d(
        (1, *kernel), (1, *stride), (0, *padding), flat.ceil_mode, flat.count_include_pad
    )


def _padded_average_pool(flat: AvgPool2dSame) -> nn.Module:
    """What averages before a dilated shortcut: stride 1, one row and one column of zeros added."""
    return nn.Sequential(nn.ConstantPad3d((0, 1, 0, 1, 0, 0), 0.0), _average_pool(flat))


def _pair(value: Any) -> tuple[int, int]:
    """A setting of a 2D layer, which is one number or two."""
    height, width = (value, value) if isinstance(value, int) else value
    return height, width


def _global_pool(flat: nn.Module) -> nn.Module:
    return nn.AdaptiveAvgPool3d(1)


RULES: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _norm,
    BatchNormAct2d: _norm_and_activation,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    AvgPool2dSame: _padded_average_pool,
    nn.AdaptiveAvgPool2d: _global_pool,
    SEModule: SqueezeExcite,
}


def inflate(module: nn.Module, name: str) -> nn.Module:
    """The 3D module for a 2D one, with its weights; containers are changed in place.

    Raises:
        UserError: a module that has no rule, as it may treat its input as an image; naming it.
    """
    kind = type(module)
    if kind in RULES:
        return RULES[kind](module)
    if kind not in BLOCKS and kind not in POINTWISE:
        raise UserError(f"{name}: {kind.__module__}.{kind.__name__} cannot be inflated to 3D")
    for key, child in list(module.named_children()):
        setattr(module, key, inflate(child, f"{name}.{key}"))
    return module


class Inflated(Backbone):
    """The inflated children of a timm network, without its pool and classifier.

    Attributes:
        num_features: channels of the last stage.
        stage_features: channels of the maps that ``stages`` gives.
    """

    def __init__(self, name: str, flat: Any) -> None:
        super().__init__()
        if type(flat) not in SEQUENTIAL_NETS:
            known = ", ".join(net.__name__ for net in SEQUENTIAL_NETS)
            kind = type(flat)
            raise UserError(
                f"model.timm = {name!r}: {kind.__module__}.{kind.__name__} cannot be inflated "
                f"to 3D; networks of timm's classes {known} can"
            )
        children = ((key, child) for key, child in flat.named_children() if key not in HEAD)
        try:
            inflated = OrderedDict((key, inflate(child, key)) for key, child in children)
        except UserError as error:
            raise UserError(f"model.timm = {name!r}: {error}") from None
        self.trunk = nn.Sequential(inflated)
        stages: list[dict[str, Any]] = flat.feature_info[-4:]
        self.stage_names = [stage["module"] for stage in stages]
        self.num_features = int(flat.num_features)
        self.stage_features = [*(int(stage["num_chs"]) for stage in stages[:-1]), self.num_features]

    def stages(self, x: Tensor) -> list[Tensor]:
        """The maps of the last four stages: (B, 3, T, H, W) -> (B, C, T, H', W') each."""
        maps: list[Tensor] = []
        for name, child in self.trunk.named_children():
            x = child(x)
            if name in self.stage_names:
                maps.append(x)
        maps[-1] = x  # some networks end in a convolution after the last stage
        return maps


def build(model: schema.Inflated) -> Inflated:
    """The network ``model.timm``, with the 2D weights of the file ``model.weights`` or random ones.

    Below ``model.output_stride`` = 32 its last stages are dilated instead of strided, with the same
    weights: the last at 16, the last two at 8.

    Raises:
        UserError: timm has no such network, it cannot be inflated, or the weights do not fit.
    """
    try:
        dilated: dict[str, Any] = (
            {} if model.output_stride == 32 else {"output_stride": model.output_stride}
        )
        flat: Any = timm.create_model(model.timm, pretrained=False, num_classes=0, **dilated)
    except (RuntimeError, TypeError) as error:  # unknown, or a network that cannot be dilated
        raise UserError(f"model.timm = {model.timm!r}: {error}") from None
    if model.weights != "none":
        path = Path(model.weights)
        state = weights.read(path)
        nested = next((key for key in ("state_dict", "model") if key in state), None)
        state = state if nested is None else state[nested]
        classifier = f"{flat.pretrained_cfg['classifier']}."
        kept = {key: value for key, value in state.items() if not key.startswith(classifier)}
        weights.fill(flat, kept, path)
    return Inflated(model.timm, flat)
