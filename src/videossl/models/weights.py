"""Encoders on disk: safetensors, with what is needed to build the module in the header."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from videossl.job import UserError
from videossl.schema import Model


def save(module: nn.Module, model: Model, path: Path, prefix: str = "") -> None:
    """Write the weights and buffers of ``module`` whose names start with ``prefix``.

    Contiguous, on the CPU, without the prefix; the header's ``model`` is the backbone's parameters.
    """
    state = {
        name.removeprefix(prefix): value.detach().cpu().contiguous()
        for name, value in module.state_dict().items()
        if name.startswith(prefix)
    }
    save_file(state, path, metadata={"model": model.model_dump_json()})


def load(module: nn.Module, path: Path) -> None:
    """Load weights written by ``save`` into a module of the same shape.

    Raises:
        UserError: names or shapes do not fit, naming the file and the first that does not.
    """
    state = load_file(path)
    expected = module.state_dict()
    for name in [*expected, *state]:
        have, want = state.get(name), expected.get(name)
        if have is None or want is None or have.shape != want.shape:
            shown = ["absent" if x is None else str(tuple(x.shape)) for x in (have, want)]
            raise UserError(f"{path}: {name}: {shown[0]} in the file, {shown[1]} in the model")
    module.load_state_dict(state)
