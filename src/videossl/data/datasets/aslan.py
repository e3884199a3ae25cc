"""ASLAN's published layout (Kliper-Gross, Hassner and Wolf, TPAMI 34(3), 2012)::

    <root>/ASLAN_AVI/…0001.avi … 3697.avi    or ASLAN_MP4/…0001.mp4, from the archive of that name
    <root>/View2.mat                         `action_splits_pairs`, 600 × 5 × 10
    <root>/Actions_Ids.txt                   "1 action name", optional

As the database's ReadMe describes them: a video is named after the four digits of its sample, and
the MATLAB matrix of View 2 holds ten folds of 600 pairs, a row being the two samples, whether they
show the same action (1 or 0), and the actions of the two. Published code that reads the videos
takes them by their order, so what stands before the four digits is assumed: anything may.
Where both archives are there, the AVI files are used. View 1, for development, is not read.

The index's annotations are ``{"pairs": [[name, name, same, fold], …]}``, same 0 or 1 and folds 1 to
10, in the matrix's order; pairs with an absent video are left out. Every video of a pair is an
entry of split "1", part ``all``, because a video is tested on in one fold and trained on in the
others. Labels are the actions where Actions_Ids.txt names them, and ``UNLABELLED`` otherwise.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from videossl.data.datasets.files import names_by_stem
from videossl.data.datasets.index import UNLABELLED, Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, folder, lines, only
from videossl.job import UserError

LABELS = {"pairs": "whether two videos show the same action, in ten folds"}
VIDEOS = ("ASLAN_AVI", "ASLAN_MP4")
PAIRS = "View2.mat"
MATRIX = "action_splits_pairs"
CLASSES = "Actions_Ids.txt"
FOLDS = 10
LAYOUT = f"ASLAN's layout has {VIDEOS[0]} (or {VIDEOS[1]}) and {PAIRS}"
SAMPLE = re.compile(r"(?:.*\D)?(\d{4})")
CLASS_LINE = re.compile(r"(\d+)\s+(\S.*)")
# What loadmat raises on a file cut short, with flipped bytes, or of another type.
DAMAGED = (MatReadError, ValueError, TypeError, IndexError, OSError, zlib.error)
ROW = "sample, sample, same (0 or 1), action, action"

Row = list[int]  # as ROW
Folds = list[list[Row]]


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of View 2: the videos of its pairs, and the pairs.

    ``missing`` is the share of the pairs' videos that may be absent. A pair is odd whose numbers
    are out of range, that has another action for a sample than an earlier pair, or a sample with
    two files.

    Raises:
        UserError: a folder or file is missing, View2.mat does not hold the folds of pairs, a fold
            has not as many pairs of the same action as of different ones, too many pairs are odd,
            or videos are not there.
    """
    videos = root / VIDEOS[0]
    if not videos.is_dir() and (root / VIDEOS[1]).is_dir():
        videos = root / VIDEOS[1]
    names = _by_sample(folder(videos, LAYOUT))
    path = root / PAIRS
    odd = OddRows(path)
    classes = _read_classes(root / CLASSES) if (root / CLASSES).exists() else []
    actions: dict[int, int] = {}
    folds = _read_folds(odd, len(classes), names, actions)
    lines_ = odd.checked(missing, any(folds), ROW)
    absent = [f"{sample:04d}" for sample in sorted(actions) if sample not in names]
    check_complete(list(map(str, actions)), absent, missing, path, videos)
    entries: dict[str, Entry] = {}
    for sample in actions.keys() & names.keys():
        name = names[sample][0]
        label = actions[sample] - 1 if classes else UNLABELLED
        entries[name] = Entry(name, label, {"1": "all"})
    pairs: list[Any] = [
        [names[first][0], names[second][0], same, fold]
        for fold, rows in enumerate(folds, 1)
        for first, second, same, *_ in rows
        if first in names and second in names
    ]
    index = build(classes, videos, entries, annotations={"pairs": pairs}, odd=lines_)
    index.absent.extend(absent)
    return index


def _by_sample(videos: Path) -> dict[int, list[str]]:
    """Sample number -> file names, of the files whose name ends in four digits."""
    found: dict[int, list[str]] = {}
    for stem, names in names_by_stem(videos).items():
        if match := SAMPLE.fullmatch(stem):
            found.setdefault(int(match[1]), []).extend(names)
    return found


def _read_folds(
    odd: OddRows, classes: int, names: Mapping[int, list[str]], actions: dict[int, int]
) -> Folds:
    """The good rows of every fold; ``actions`` takes the action of each of their samples."""
    folds: Folds = []
    for fold, rows in enumerate(_load(odd.path).transpose(2, 0, 1).tolist(), 1):
        good: list[Row] = []
        for number, row in enumerate(rows, 1):
            with odd.row(f"pair {number} of fold {fold}"):
                _check_pair(row, classes, names, actions)
                good.append(row)
        same = sum(row[2] for row in good)
        if len(good) == len(rows) and 2 * same != len(rows):
            raise UserError(
                f"{odd.path}: found {same} same and {len(rows) - same} not-same pairs in fold "
                f"{fold}; expected as many of both"
            )
        folds.append(good)
    return folds


def _check_pair(
    row: Row, classes: int, names: Mapping[int, list[str]], actions: dict[int, int]
) -> None:
    """Raise ``OddRow`` for a pair that cannot be, and note the actions of one that can."""
    first, second, same, *labels = row
    if min(first, second, *labels) < 1 or same not in (0, 1):
        raise OddRow(f"found {row}; expected {ROW}, samples and actions from 1")
    found = dict(zip((first, second), labels, strict=True))
    for sample, action in found.items():
        if classes and action > classes:
            raise OddRow(f"found action {action}; {CLASSES} has 1 to {classes}")
        if actions.get(sample, action) != action:
            raise OddRow(
                f"found action {action} for sample {sample}; expected {actions[sample]} as before"
            )
        if sample in names:
            only(names[sample])
    actions.update(found)


def _load(path: Path) -> npt.NDArray[np.int64]:
    """The matrix of pairs, pairs × 5 × folds."""
    shape = f"a matrix {MATRIX} of pairs × 5 × {FOLDS}"
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: not found; expected {shape}") from None
    try:
        content = loadmat(io.BytesIO(data), variable_names=[MATRIX])
    except NotImplementedError:  # what scipy raises for version 7.3, which is HDF5
        raise UserError(f"{path}: MATLAB 7.3 file; expected version 7, see `save -v7`") from None
    except DAMAGED:
        raise UserError(f"{path}: no or a damaged MATLAB file; expected {shape}") from None
    matrix = content.get(MATRIX)
    if matrix is None:
        raise UserError(f"{path}: found no {MATRIX}; expected {shape}")
    if matrix.ndim != 3 or matrix.shape[1:] != (5, FOLDS) or matrix.dtype.kind not in "iuf":
        found = " × ".join(map(str, matrix.shape))
        raise UserError(f"{path}: found {found} of type {matrix.dtype}; expected {shape}")
    if not len(matrix) or not np.isfinite(matrix).all() or (matrix != np.floor(matrix)).any():
        raise UserError(f"{path}: found no pair, or numbers that are not whole; expected {shape}")
    whole: npt.NDArray[np.int64] = matrix.astype(np.int64)
    return whole


def _read_classes(path: Path) -> list[str]:
    """Action names in the order of their ids, which count from 1."""
    classes: list[str] = []
    expected = "`1 action name` per line, numbered in order"
    for number, line in lines(path, expected):
        match = CLASS_LINE.fullmatch(line)
        if match is None or int(match[1]) != len(classes) + 1:
            raise UserError(f"{path}:{number}: found {line!r}; expected {expected}")
        classes.append(match[2])
    if not classes:
        raise UserError(f"{path}: found no action; expected {expected}")
    return classes
