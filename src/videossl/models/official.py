"""Weights that the authors of RSPNet and of ρMoCo/ρBYOL/ρSimCLR/ρSwAV released, and torchvision's.

RSPNet (github.com/PeihaoChen/RSPNet, release ``pretrained_model``): keys ``model`` and ``arch``;
the query encoder's weights start with ``encoder_q.encoder.``. PySlowFast's contrastive zoo
(github.com/facebookresearch/SlowFast, projects/contrastive_ssl): key ``model_state``; the query
encoder's weights start with ``backbone.``; its supervised Slow networks have no prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from videossl.data.loading.augment import SLOWFAST, Colours
from videossl.job import UserError
from videossl.models import weights
from videossl.study import schema

Names = list[tuple[str, str]]  # pattern -> replacement, applied in order

C3D: Names = [
    (r"^conv(\d)a?\.", r"stage\1.0.0."),
    (r"^bn(\d)a?\.", r"stage\1.0.1."),
    (r"^conv(\d)b\.", r"stage\1.1.0."),
    (r"^bn(\d)b\.", r"stage\1.1.1."),
]

R3D: Names = [
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^(layer\d\.\d+\.)conv([12])\.", r"\1conv\2.0."),
    (r"^(layer\d\.\d+\.)bn([12])\.", r"\1conv\2.1."),
]

R2PLUS1D: Names = [
    (r"^conv1\.", "stem."),
    (r"^bn1\.", "stem.4."),
    *((rf"^conv{i + 1}\.block1\.", f"layer{i}.0.") for i in range(1, 5)),
    (r"\.bn([12])\.", r".conv\1.1."),
    (r"\.conv([12])\.(spatial_conv|bn|temporal_conv)\.", r".conv\1.0.\2."),
    (r"\.downsampleconv\.", ".downsample.0."),
    (r"\.downsamplebn\.", ".downsample.1."),
    (r"\.spatial_conv\.", ".0."),
    (r"\.bn\.", ".1."),
    (r"\.temporal_conv\.", ".3."),
]

S3DG: Names = [
    (r"^feature\.sepConv1\.", "stage1."),
    (r"^feature\.basicConv3d\.", "stage2.1."),
    (r"^feature\.sep_conv2\.", "stage2.2."),
    *(
        (rf"^feature\.sepInc_{stage}{block}\.", f"stage{stage}.{i}.")
        for stage, blocks in ((3, "bc"), (4, "bcdef"), (5, "bc"))
        for i, block in enumerate(blocks, start=1)
    ),
    (r"\.sep_conv\.0\.", ".space."),
    (r"\.sep_conv\.1\.", ".time."),
    (r"\.excitation\.", ".gate."),
    (r"\.conv3d\.", ".0."),
    (r"\.bn\.", ".1."),
]

SLOW: Names = [
    (r"^s1\.pathway0_stem\.conv\.", "stem.0."),
    (r"^s1\.pathway0_stem\.bn\.", "stem.1."),
    (r"^s([2-5])\.pathway0_res(\d+)\.", r"stage\1.\2."),
    (r"\.branch1\.", ".shortcut.0."),
    (r"\.branch1_bn\.", ".shortcut.1."),
    *(
        (rf"\.branch2\.{letter}{suffix}\.", f".body.{3 * i + offset}.")
        for i, letter in enumerate("abc")
        for offset, suffix in ((0, ""), (1, "_bn"))
    ),
]


# Of torchvision's S3D: the place of each Inception block in ``features``.
S3D: Names = [
    (r"^features\.0\.", "stage1."),
    (r"^features\.2\.", "stage2.1."),
    (r"^features\.3\.", "stage2.2."),
    *(
        (rf"^features\.{place}\.", f"stage{stage}.{i}.")
        for stage, places in ((3, (5, 6)), (4, (8, 9, 10, 11, 12)), (5, (14, 15)))
        for i, place in enumerate(places, start=1)
    ),
    (r"(^stage1|^stage2\.2|\.branch[12]\.1)\.0\.", r"\1.space."),
    (r"(^stage1|^stage2\.2|\.branch[12]\.1)\.1\.", r"\1.time."),
]

IMAGENET = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TORCHVISION = Colours((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))


class Layout(NamedTuple):
    """Where an encoder lies in a checkpoint, and how its weights are called there."""

    title: str
    backbone: str  # the ``model.name`` that it fits
    prefix: str  # of the encoder's keys
    heads: tuple[str, ...]  # starts of keys, after the prefix, that are no part of the backbone
    names: Names
    colours: Colours  # that its network was trained with


RSPNET = {
    "c3d": Layout("RSPNet's c3d", "c3d", "encoder_q.encoder.", ("linear.",), C3D, IMAGENET),
    "resnet18": Layout(
        "RSPNet's resnet18", "r3d_rspnet", "encoder_q.encoder.", ("fc.",), R3D, IMAGENET
    ),
    "r2plus1d-vcop": Layout(
        "RSPNet's r2plus1d-vcop",
        "r2plus1d_rspnet",
        "encoder_q.encoder.",
        ("linear.",),
        R2PLUS1D,
        IMAGENET,
    ),
    "s3dg": Layout("RSPNet's s3dg", "s3dg_rspnet", "encoder_q.encoder.", ("fc.",), S3DG, IMAGENET),
}
ZOO = Layout("PySlowFast's Slow", "slow", "backbone.", ("head.",), SLOW, SLOWFAST)
SUPERVISED = ZOO._replace(prefix="")
VISION = {
    "r3d": Layout("torchvision's r3d_18", "r3d", "", ("fc.",), [], TORCHVISION),
    "mc3": Layout("torchvision's mc3_18", "mc3", "", ("fc.",), [], TORCHVISION),
    "r2plus1d": Layout("torchvision's r2plus1d_18", "r2plus1d", "", ("fc.",), [], TORCHVISION),
    "s3d": Layout("torchvision's s3d", "s3d", "", ("classifier.",), S3D, TORCHVISION),
}


def import_checkpoint(path: Path, model: schema.Backbone) -> nn.Module:
    """The backbone ``model`` with the weights of an official checkpoint; prints what was not used.

    Raises:
        UserError: the layout is unknown, is of another backbone or of other colours, or a weight
            does not fit; naming the first key at fault.
    """
    state, layout = _recognise(weights.read(path), path)
    if layout.backbone != model.name:
        raise UserError(
            f"{path}: holds {layout.title}, which is the backbone {layout.backbone}; "
            f"model.name is {model.name}"
        )
    for key, wanted in zip(("mean", "std"), layout.colours, strict=True):
        if getattr(model, key) != [*wanted]:
            raise UserError(
                f"{path}: holds {layout.title}, which was trained with {key} = {[*wanted]}; the "
                f"{key} of its entry of backbone is {getattr(model, key)}"
            )
    net = weights.build(model)
    named, unused = _rename(state, layout, set(net.state_dict()), path)
    weights.fill(net, named, path)
    shown = ", ".join(f"{count} of {start}" for start, count in sorted(unused.items()))
    print(f"{path}: {layout.title}, {len(named)} tensors; not used: {shown or 'none'}", flush=True)
    return net


def _recognise(found: Mapping[str, Any], path: Path) -> tuple[Mapping[str, Tensor], Layout]:
    """The checkpoint's weights, and their layout."""
    if isinstance(found.get("model"), Mapping) and "arch" in found:
        arch = found["arch"]
        if arch not in RSPNET:
            raise UserError(f"{path}: arch = {arch!r}: must be one of {', '.join(RSPNET)}")
        return found["model"], RSPNET[arch]
    if isinstance(found.get("model_state"), Mapping):
        state = found["model_state"]
        prefixed = any(key.startswith(ZOO.prefix) for key in state)
        return state, ZOO if prefixed else SUPERVISED
    if found and all(isinstance(value, Tensor) for value in found.values()):
        if "features.0.0.0.weight" in found:
            return found, VISION["s3d"]
        if "stem.0.weight" in found and "layer2.0.conv1.0.0.weight" in found:
            return found, VISION["r2plus1d"]
        if "stem.0.weight" in found and "layer2.0.conv1.0.weight" in found:
            in_time = found["layer2.0.conv1.0.weight"].shape[2:3] == (3,)
            return found, VISION["r3d" if in_time else "mc3"]
    first = next(iter(found), "(empty)")
    raise UserError(
        f"{path}: unknown layout: its first key is {first!r}; known are RSPNet's (model, arch), "
        "PySlowFast's (model_state) and torchvision's (stem.0.weight or features.0.0.0.weight)"
    )


def _rename(
    state: Mapping[str, Tensor], layout: Layout, expected: set[str], path: Path
) -> tuple[dict[str, Tensor], Counter[str]]:
    """The encoder's weights under our names, and how many keys of each kind are left over."""
    named: dict[str, Tensor] = {}
    unused: Counter[str] = Counter()
    biases: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(layout.prefix)
        if not key.startswith(layout.prefix) or name.startswith(layout.heads):
            unused[key.split(".")[0] if name == key else layout.prefix + name.split(".")[0]] += 1
            continue
        for pattern, replacement in layout.names:
            name = re.sub(pattern, replacement, name)
        if name in expected:
            named[name] = value
        elif name.endswith(".0.bias") and name.replace(".0.bias", ".1.running_mean") in expected:
            biases[name.replace(".0.bias", ".1.running_mean")] = value
        else:
            raise UserError(f"{path}: {key}: no such weight in {layout.title} as known here")
    for mean, bias in biases.items():  # BN(conv + bias) = BN'(conv) with a smaller mean
        if mean in named:
            named[mean] = named[mean] - bias
    return named, unused
