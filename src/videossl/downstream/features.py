"""Features of a test's examples on disk."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from videossl.downstream.examples import Examples, Numbers
from videossl.job import UserError, write_json

FILE, ROWS, LAYERS = "features.npy", "features.csv", "features.json"
DTYPE = np.dtype("<f4")
BLOCK_BYTES = 64 << 20  # of features that are looked at in one piece


@dataclass(frozen=True)
class Part:
    """One part of a split: numbers (N,), features (N, D) and labels of its examples.

    Labels are classes (N,); or of each example its target, as its kind has it.
    """

    examples: Numbers
    features: NDArray[np.float32]
    labels: Any


def save(
    blocks: Iterable[NDArray[np.float32]], examples: Examples, folder: Path
) -> tuple[int, int]:
    """Write the features (N, D) of all examples, and whose each row is; returns N and D.

    ``blocks`` are their rows in order, (n, D) each: one is held at a time.

    Raises:
        UserError: a feature is not finite.
    """
    count, width = len(examples.videos), 0
    done = 0
    with (folder / FILE).open("wb") as file:
        for block in blocks:
            if (row := first_not_finite(block)) is not None:
                raise UserError(
                    f"the features of {examples.videos[done + row]} are not finite: the encoder's "
                    "weights are damaged, or it diverged"
                )
            if not done:
                width = block.shape[1]
                head = {"descr": DTYPE.str, "fortran_order": False, "shape": (count, width)}
                npy.write_array_header_1_0(file, head)
            file.write(np.ascontiguousarray(block, DTYPE).tobytes())
            done += len(block)
    if done != count or not done:
        raise ValueError(f"{done} features of {count} examples")
    with (folder / ROWS).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["example", "video"])
        table.writerows(enumerate(examples.videos))
    return count, width


def write_layers(folder: Path, layers: Sequence[int], widths: Sequence[int]) -> None:
    """Write of which maps the columns are: ``widths`` of each of the ``layers``, in their order."""
    write_json(folder / LAYERS, {"layers": list(layers), "widths": list(widths)})


def widths(folder: Path) -> list[int]:
    """How many columns each layer has, in the order of the columns.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / LAYERS
    try:
        return [int(width) for width in json.loads(path.read_text(encoding="ascii"))["widths"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; remove {folder} and run again") from None


def load(folder: Path, examples: Examples, split: int) -> tuple[Part, Part]:
    """The training and the test part of a split.

    Only the rows of these parts are read, once and without a copy.

    Raises:
        UserError: the file is damaged, the features are of other examples, or a part is empty.
    """
    train, test = _parts(folder, examples, split, ("train", "test"))
    return train, test


def load_all(folder: Path, examples: Examples, split: int) -> Part:
    """The part ``all`` of a split whose examples are not divided: as ``load``."""
    (found,) = _parts(folder, examples, split, ("all",))
    return found


def _parts(folder: Path, examples: Examples, split: int, names: Sequence[str]) -> list[Part]:
    numbers = [examples.part(split, name) for name in names]
    arrays = _read(folder / FILE, len(examples.videos), numbers)
    for wanted, array in zip(numbers, arrays, strict=True):
        if (row := first_not_finite(array)) is not None:
            raise UserError(
                f"{folder / FILE}: the features of {examples.videos[wanted[row]]} are not finite; "
                f"remove {folder} and run again"
            )
    return [
        Part(wanted, array, examples.targets_of(wanted))
        for wanted, array in zip(numbers, arrays, strict=True)
    ]


def _read(path: Path, count: int, numbers: list[Numbers]) -> list[NDArray[np.float32]]:
    """Rows of a file of ``count``, by ascending numbers, block by block."""
    again = f"remove {path.parent} and run again"
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            shape, by_columns, kind = npy.read_array_header_1_0(file)
            if version != (1, 0) or len(shape) != 2 or by_columns or kind != DTYPE:
                raise UserError(f"{path}: {kind}, shape {shape}: no table of float32; {again}")
            if shape[0] != count:
                raise UserError(
                    f"{path}: {shape[0]} features, but the test has {count} examples; {again}"
                )
            width = shape[1]
            missing = file.tell() + DTYPE.itemsize * count * width - path.stat().st_size
            if missing:
                raise UserError(f"{path}: {missing} bytes are missing; {again}")
            arrays = [np.empty((len(wanted), width), np.float32) for wanted in numbers]
            step = block_rows(width)
            for start in range(0, count, step):
                stop = min(start + step, count)
                block = np.fromfile(file, DTYPE, (stop - start) * width).reshape(-1, width)
                for wanted, array in zip(numbers, arrays, strict=True):
                    low, high = np.searchsorted(wanted, [start, stop])
                    array[low:high] = block[wanted[low:high] - start]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}; {again}") from None
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


def standardise(train: NDArray[np.float32], *others: NDArray[np.float32]) -> None:
    """Shift and scale the columns, in place, so that those of ``train`` have mean 0, deviation 1.

    In blocks, computed in float64. A column that is constant but for rounding is only shifted.

    Args:
        train: (N, D).
        others: (any, D), shifted and scaled as ``train``.
    """
    step = block_rows(train.shape[1])
    blocks = [slice(start, start + step) for start in range(0, len(train), step)]
    mean = np.sum([train[b].sum(axis=0, dtype=np.float64) for b in blocks], axis=0) / len(train)
    squares = np.sum([np.square(train[b] - mean).sum(axis=0) for b in blocks], axis=0)
    deviation = np.sqrt(squares / len(train))
    deviation[deviation <= np.finfo(np.float32).eps * np.abs(mean)] = 1
    for x in (train, *others):
        for start in range(0, len(x), step):
            x[start : start + step] = (x[start : start + step] - mean) / deviation


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length; a zero row stays zero.

    However large or small: a row is brought near 1 by a power of two first, which rounds nothing,
    as the square of a large float32 is infinite and that of a small one zero.
    """
    exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True, initial=0))[1]
    near = np.ldexp(x, -exponent)
    norm = np.linalg.norm(near, axis=1, keepdims=True)
    return np.asarray(near / np.where(norm > 0, norm, 1), dtype=np.float32)
