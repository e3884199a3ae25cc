"""Features of a dataset's videos on disk, and the two parts of its split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file


@dataclass(frozen=True)
class Part:
    """One part of a split: (N, D) features and (N,) labels of its videos."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def save(train: Part, test: Part, path: Path) -> None:
    """Write both parts to one safetensors file."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, part in (("train", train), ("test", test)):
        arrays[f"{name}.features"], arrays[f"{name}.labels"] = part.features, part.labels
    save_file(arrays, path)


def load(path: Path) -> tuple[Part, Part]:
    """The train and test part of a file that ``save`` wrote."""
    arrays = load_file(path)
    train, test = (
        Part(arrays[f"{name}.features"], arrays[f"{name}.labels"]) for name in ("train", "test")
    )
    return train, test


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length; a zero row stays zero."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norm, 1e-12), dtype=np.float32)
