"""Features of a test's examples on disk."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from videossl.downstream.examples import Examples, Numbers
from videossl.job import UserError

FILE, ROWS = "features.safetensors", "features.csv"
BLOCK_BYTES = 64 << 20  # of features that are looked at in one piece


@dataclass(frozen=True)
class Part:
    """One part of a split: numbers (N,), features (N, D) and labels (N,) of its examples."""

    examples: Numbers
    features: NDArray[np.float32]
    labels: Numbers


def save(features: NDArray[np.float32], examples: Examples, folder: Path) -> None:
    """Write the features (N, D) of all examples, and whose each row is.

    Raises:
        UserError: a feature is not finite, or the disk refuses.
    """
    if (row := first_not_finite(features)) is not None:
        raise UserError(
            f"the features of {examples.videos[row]} are not finite: the encoder's weights are "
            "damaged, or it diverged"
        )
    try:
        save_file({"features": features}, folder / FILE)
    except SafetensorError as error:
        raise UserError(f"{folder / FILE}: cannot be written: {error}") from None
    with (folder / ROWS).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["example", "video"])
        table.writerows(enumerate(examples.videos))


def load(folder: Path, examples: Examples, split: int) -> tuple[Part, Part]:
    """The training and the test part of a split.

    Only the rows of these parts are read, once and without a copy.

    Raises:
        UserError: the file is damaged, the features are of other examples, or a part is empty.
    """
    numbers = [examples.part(split, name) for name in ("train", "test")]
    arrays = _read(folder / FILE, len(examples.videos), numbers)
    for wanted, array in zip(numbers, arrays, strict=True):
        if (row := first_not_finite(array)) is not None:
            raise UserError(
                f"{folder / FILE}: the features of {examples.videos[wanted[row]]} are not finite; "
                f"remove {folder} and run again"
            )
    train, test = (
        Part(wanted, array, examples.targets[wanted])
        for wanted, array in zip(numbers, arrays, strict=True)
    )
    return train, test


def _read(path: Path, count: int, numbers: list[Numbers]) -> list[NDArray[np.float32]]:
    """Rows of a file of ``count``, by ascending numbers.

    Block by block: the reader of safetensors would hold the whole file twice.
    """
    again = f"remove {path.parent} and run again"
    try:
        with safe_open(path, "numpy") as file:  # checks the head, and that the file is whole
            table = file.get_slice("features")
            shape, kind = table.get_shape(), table.get_dtype()
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read: {error}; {again}") from None
    if len(shape) != 2 or kind != "F32":
        raise UserError(f"{path}: {kind} of shape {shape}: not a table of float32; {again}")
    if shape[0] != count:
        raise UserError(f"{path}: {shape[0]} features, but the test has {count} examples; {again}")
    arrays = [np.empty((len(wanted), shape[1]), np.float32) for wanted in numbers]
    step = block_rows(shape[1])
    with path.open("rb") as file:
        head = int.from_bytes(file.read(8), "little")
        file.seek(8 + head + json.loads(file.read(head))["features"]["data_offsets"][0])
        for start in range(0, count, step):
            stop = min(start + step, count)
            block = np.fromfile(file, np.float32, (stop - start) * shape[1])
            block = block.reshape(stop - start, shape[1])
            for wanted, array in zip(numbers, arrays, strict=True):
                low, high = np.searchsorted(wanted, [start, stop])
                array[low:high] = block[wanted[low:high] - start]
    return arrays


def block_rows(width: int) -> int:
    """How many rows of so many float32 are a block."""
    return max(1, BLOCK_BYTES // (4 * max(1, width)))


def first_not_finite(x: NDArray[np.float32]) -> int | None:
    """The first row of (N, D) that holds NaN or an infinity; None if there is none."""
    step = block_rows(x.shape[1])
    for start in range(0, len(x), step):
        finite = np.isfinite(x[start : start + step]).all(axis=1)
        if not finite.all():
            return start + int(finite.argmin())
    return None


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length; a zero row stays zero.

    However large or small: a row is brought near 1 by a power of two first, which rounds nothing,
    as the square of a large float32 is infinite and that of a small one zero.
    """
    exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True, initial=0))[1]
    near = np.ldexp(x, -exponent)
    norm = np.linalg.norm(near, axis=1, keepdims=True)
    return np.asarray(near / np.where(norm > 0, norm, 1), dtype=np.float32)
