"""Stage ``select``: which examples a test has, their targets, and their part in each split.

It needs neither a network nor a GPU, and a person can read what it wrote: ``examples.csv``. Which
training examples of a split are used and which are kept aside for validation depends on the seed:
``finetune`` writes that down in the same form.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from videossl.data.shards.records import MANIFEST
from videossl.data.shards.store import ClipStore
from videossl.downstream import examples
from videossl.job import Job, UserError, write_json

if TYPE_CHECKING:
    from videossl.study.reads import SelectParams


def run(job: Job, params: SelectParams) -> None:
    """Write ``examples.csv``, ``examples.json`` and ``metrics.json``.

    Raises:
        UserError: no stored video has labels of that kind.
    """
    folder = job.input("shards")
    source = examples.source(job.input("videos"), ClipStore(folder), params.labels)
    found = job.modules["kind"].examples(source)
    if not found.videos:
        raise UserError(f"data.{params.data}: no stored video has {params.labels!r} labels")
    # whatever depends on the examples depends on the frames: DVC's stages are told of them by this
    manifest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    facts = {"data": params.data, "labels": params.labels, "manifest": manifest}
    examples.write(found, facts, job.out)
    counts = {"examples": len(found.videos), "classes": len(found.classes)}
    write_json(job.out / "metrics.json", counts)
