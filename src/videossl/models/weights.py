"""Encoders on disk: safetensors, with what is needed to build the module in the header."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from videossl.data.loading.augment import Colours
from videossl.job import UserError
from videossl.models.backbone import Backbone
from videossl.study import schema
from videossl.study.registry import BACKBONES


def build(model: schema.Backbone) -> Backbone:
    """The backbone that ``model`` names, with random weights from torch's generator."""
    net: Backbone = import_module(BACKBONES[model.name]).build(model)
    net.colours = Colours(tuple(model.mean), tuple(model.std))
    return net


def save(module: nn.Module, model: schema.Backbone, path: Path, prefix: str = "") -> None:
    """Write the weights and buffers of ``module`` whose names start with ``prefix``.

    Contiguous, on the CPU, without the prefix; the header's ``model`` is the backbone's parameters.

    Raises:
        UserError: the disk refuses.
    """
    state = {
        name.removeprefix(prefix): value.detach().cpu().contiguous()
        for name, value in module.state_dict().items()
        if name.startswith(prefix)
    }
    try:
        save_file(state, path, metadata={"model": model.model_dump_json()})
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written: {error}") from None


def load(module: nn.Module, path: Path) -> None:
    """Load weights written by ``save`` into a module of the same shape.

    Raises:
        UserError: names or shapes do not fit, naming the file and the first that does not.
    """
    fill(module, read(path), path)


def read(path: Path) -> dict[str, Any]:
    """What a safetensors file or a torch checkpoint holds; of a checkpoint, plain data only.

    Raises:
        UserError: the file is absent, is neither, or holds Python objects, which could run code.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"{path}: not a torch checkpoint of tensors and plain data: {first}"
        ) from None
    if not isinstance(found, Mapping):
        raise UserError(f"{path}: holds a {type(found).__name__}, expected a mapping of weights")
    return dict(found)


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state``, which was read from ``path``; every name and shape must fit.

    Raises:
        UserError: naming the file and the first name that does not fit.
    """
    expected = module.state_dict()
    for name in [*expected, *state]:
        have, want = state.get(name), expected.get(name)
        if have is None or want is None or have.shape != want.shape:
            shown = ["absent" if x is None else str(tuple(x.shape)) for x in (have, want)]
            raise UserError(f"{path}: {name}: {shown[0]} in the file, {shown[1]} in the model")
        if want.is_floating_point() and not torch.isfinite(have).all():
            raise UserError(f"{path}: {name}: holds values that are not finite; it is damaged")
    module.load_state_dict(state)


def backbone_of(path: Path) -> schema.Backbone:
    """The backbone that a file written by ``save`` says it has.

    Raises:
        UserError: the file is absent or was not written by ``save``.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    header: dict[str, str] | None = None
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file: {error}") from None
    if not header or "model" not in header:
        raise UserError(
            f"{path}: no header that says which model it is; expected encoder.safetensors"
        )
    adapter: TypeAdapter[schema.Backbone] = TypeAdapter(schema.Backbone)
    try:
        model = adapter.validate_json(header["model"])
    except ValidationError as error:
        raise UserError(f"{path}: its header is of no model known here: {error}") from None
    if isinstance(model, schema.Inflated):  # its 2D weights are inside by now
        model = model.model_copy(update={"weights": "none"})
    return model


def dilated(model: schema.Backbone, path: Path) -> schema.Backbone:
    """The network of the same weights whose last stage keeps the size of the map.

    Raises:
        UserError: ``model``, which is that of the file ``path``, is no Slow network.
    """
    if not isinstance(model, schema.Slow):
        raise UserError(f"{path}: its network is {model.name}; only slow can be dilated")
    return model.model_copy(update={"dilated": True})


def load_encoder(path: str | Path, model: schema.Backbone | None = None) -> Backbone:
    """The encoder of a file that ``save`` wrote, in eval mode: clips (B, 3, T, H, W) -> (B, C).

    With ``model`` it is built as that, whose weights must be of the same names and shapes.

    Raises:
        UserError: the file is absent, was not written by ``save`` or does not fit its own header.
    """
    path = Path(path)
    net = build(model or backbone_of(path))
    fill(net, read(path), path)
    return net.eval()
