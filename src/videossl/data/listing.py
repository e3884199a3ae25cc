"""Stage ``prepare`` for a dataset on disk: check that it is there and write down what it holds.

The list (names, labels, splits, sizes) is the input of ``decode``. Videos on disk are taken as
fixed after that: run this stage again after adding some.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from videossl.job import Job, write_json

if TYPE_CHECKING:
    from videossl.params import PrepareParams


def run(job: Job, params: PrepareParams) -> None:
    """Write ``index.json``: classes, and for every video its name, label, splits and bytes."""
    data = params.data
    assert data.format != "synthetic"
    index = job.modules["dataset"].read(Path(data.root))
    entries = [
        {
            "name": entry.name,
            "label": entry.label,
            "splits": entry.splits,
            "bytes": (index.root / entry.name).stat().st_size,
        }
        for entry in index.entries
    ]
    write_json(job.out / "index.json", {"classes": index.classes, "videos": entries})
