"""What a report keeps beside its tables so that two studies can be compared by their reports alone.

``params.json``: every key that the outputs it read were made with, dotted, and its value; the
report's own keys are in its record, as those of any stage.
``examples.npz``: for each row, test, protocol and metric that is a mean over examples, the numbers
of the test examples and the mean over seeds and splits for each: ``<row>/<form>/<test>/<protocol>/
<metric>`` (2, N).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from videossl.job import UserError, write_json
from videossl.report.inputs import Folder, read_json
from videossl.report.noise import Sample
from videossl.report.results import Evaluation, by_place, sample

PARAMS, EXAMPLES, RESULTS = "params.json", "examples.npz", "results.csv"
READ = (PARAMS, EXAMPLES, RESULTS)  # of a report, by ``read``, beside its record
Key = tuple[str, str, str, str, str]
NAMES = ["row", "form", "test", "protocol", "metric"]  # of its parts


def write(folders: Iterable[Folder], evaluations: Sequence[Evaluation], out: Path) -> None:
    """Write both files."""
    params: dict[str, Any] = {}
    for folder in folders:
        params |= folder.record["params"]
    write_json(out / PARAMS, params)
    np.savez_compressed(out / EXAMPLES, **_by_example(evaluations))


def _by_example(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    arrays = {}
    for (row, group), own in sorted(by_place(evaluations).items()):
        found = sorted(own, key=lambda one: (one.seed, one.split))
        for metric in found[0].metrics:
            present = [one for one in found if metric in one.metrics]
            one, _ = sample(present, metric)
            if one.examples is not None and one.by_example is not None:
                arrays["/".join((row, *group, metric))] = np.stack([one.examples, one.by_example])
    return arrays


def read(folder: Path) -> tuple[dict[str, Any], dict[Key, Sample]]:
    """Key -> value, and the results of each row in each column; see ``noise.Sample``.

    Raises:
        UserError: the folder holds no report, or one that is damaged or older than these files.
    """
    try:
        params: dict[str, Any] = json.loads((folder / PARAMS).read_text(encoding="ascii"))
        params |= read_json(folder / "stage.json")["params"]
        with (folder / EXAMPLES).open("rb") as file, np.load(file) as stored:
            arrays: Mapping[str, Any] = dict(stored)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UserError(f"{folder}: not a report that can be compared: {error}") from None
    return params, {
        key: Sample(by_seed, *_columns(arrays.get("/".join(key))))
        for key, by_seed in _by_seed(folder).items()
    }


def _columns(array: Any) -> tuple[Any, Any]:
    return (None, None) if array is None else (array[0].astype(np.int64), array[1])


def _by_seed(folder: Path) -> dict[Key, tuple[float, ...]]:
    """The mean over splits of each seed, from ``results.csv``."""
    # a row may be called null, or 2024
    names = dict.fromkeys(NAMES, str)
    table = pd.read_csv(folder / RESULTS, dtype=names, keep_default_na=False)
    found: dict[Key, tuple[float, ...]] = {}
    for name, own in table.groupby(NAMES, sort=False):
        by_seed = own.groupby("seed")["value"].mean()
        found[cast(Key, name)] = tuple(by_seed.tolist())
    return found
