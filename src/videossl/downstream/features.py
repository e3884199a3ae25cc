"""Features of a test's examples on disk."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from videossl.downstream.examples import Examples, Numbers
from videossl.job import UserError

FILE, ROWS = "features.safetensors", "features.csv"


@dataclass(frozen=True)
class Part:
    """One part of a split: numbers (N,), features (N, D) and labels (N,) of its examples."""

    examples: Numbers
    features: NDArray[np.float32]
    labels: Numbers


def save(features: NDArray[np.float32], examples: Examples, folder: Path) -> None:
    """Write the features (N, D) of all examples, and whose each row is.

    Raises:
        UserError: a feature is not finite.
    """
    if not np.isfinite(features).all():
        bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise UserError(
            f"the features of {examples.videos[bad]} are not finite: the encoder's weights are "
            "damaged, or it diverged"
        )
    save_file({"features": features}, folder / FILE)
    with (folder / ROWS).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["example", "video"])
        table.writerows(enumerate(examples.videos))


def load(folder: Path, examples: Examples, split: int) -> tuple[Part, Part]:
    """The training and the test part of a split.

    Raises:
        UserError: the features are of other examples, or a part is empty.
    """
    features = load_file(folder / FILE)["features"]
    if len(features) != len(examples.videos):
        raise UserError(
            f"{folder / FILE}: {len(features)} features, but the test has "
            f"{len(examples.videos)} examples; remove {folder} and run again"
        )
    train, test = (
        Part(numbers, features[numbers], examples.targets[numbers])
        for numbers in (examples.part(split, "train"), examples.part(split, "test"))
    )
    return train, test


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length; a zero row stays zero."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norm, 1e-12), dtype=np.float32)
