"""Self-supervised video representation learning as one declarative, cached pipeline.

``videossl.load_encoder(path)`` gives the encoder of an ``encoder.safetensors``, ready for use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import torch only when ``load_encoder`` is asked for."""
    if name == "load_encoder":
        # by text, so that weights.py is no code of stages that never load an encoder
        return import_module("videossl.models.weights").load_encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
