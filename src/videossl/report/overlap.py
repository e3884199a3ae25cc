"""Which tested videos a row has seen before: in its pretraining, or in the test's training part.

Two videos are the same if their files have the same bytes (``source_sha256`` of the manifest),
whatever their names and datasets. Copies that were encoded anew are not found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from videossl.downstream import examples
from videossl.report.inputs import Folder
from videossl.report.layout import Row

if TYPE_CHECKING:
    from videossl.study.reads import AggregateParams

TRAIN, TEST = "train", "test"
UNDIVIDED = "all"  # the part of a dataset or a test that has no training part
SPLIT = re.compile(r"pretrain\.\w+\.split")


@dataclass(frozen=True)
class Overlap:
    """A line of the table.

    Attributes:
        seen: of the ``tested`` videos of a split, how many are among what was seen.
    """

    form: str
    test: str
    split: str
    where: str
    seen: int
    tested: int


def find(
    encoders: Sequence[Folder],
    selected: Iterable[Folder],
    manifests: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Row],
    params: AggregateParams,
) -> list[Overlap]:
    """Every test and split of which some video was seen before it was tested.

    Args:
        encoders: outputs of ``pretrain`` and ``initialize``.
        selected: outputs of ``select``.
        manifests: of each dataset that was decoded.
        rows: of the study.

    Raises:
        UserError: a table of examples is damaged.
    """
    digests = {name: _digests(manifest) for name, manifest in manifests.items()}
    seen = _pretrained_on(encoders, manifests, rows, params)
    found = []
    for folder in selected:
        form, test = folder.key["form"], folder.key["test"]
        entry = (params.finetune if form == "finetune" else params.probe).get(test)
        if entry is None or entry.data not in digests:
            continue
        of = digests[entry.data]
        chosen = examples.read(folder.path)
        for split in map(str, entry.splits):
            parts = chosen.parts.get(split, [])
            by_part = {
                name: {
                    of[video]
                    for video, part in zip(chosen.videos, parts, strict=True)
                    if part == name and video in of
                }
                for name in (TRAIN, TEST, UNDIVIDED)
            }
            tested = by_part[TEST] or by_part[UNDIVIDED]
            own = {"its own training part": by_part[TRAIN]}
            if not by_part[TEST]:  # each is tested after training on others: a copy is one of them
                undivided = zip(chosen.videos, parts, strict=True)
                held = Counter(of[v] for v, part in undivided if part == UNDIVIDED and v in of)
                own = {"its own other videos": {one for one, n in held.items() if n > 1}}
            for where, videos in {**seen, **own}.items():
                if common := len(tested & videos):
                    found.append(Overlap(form, test, split, where, common, len(tested)))
    return found


def _pretrained_on(
    encoders: Sequence[Folder],
    manifests: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Row],
    params: AggregateParams,
) -> dict[str, set[str]]:
    """Titles of the rows with one pretraining set -> digests of its videos."""
    titles: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        own = next((one for one in encoders if one.key["row"] == row.name), None)
        if own is None or not row.pretrained:
            continue
        split = next((v for k, v in own.record["params"].items() if SPLIT.fullmatch(k)), None)
        if split is not None and (data := params.methods[row.name].data) in manifests:
            titles.setdefault((data, str(split)), []).append(row.title)
    return {
        f"the pretraining of {', '.join(names)}": _trained(manifests[data], split)
        for (data, split), names in titles.items()
    }


def _trained(manifest: Mapping[str, Any], split: str) -> set[str]:
    """As ``pretrain`` chooses: the training part of a split; all, of a dataset without parts."""
    videos = manifest["videos"]
    undivided = {part for one in videos for part in one["splits"].values()} <= {UNDIVIDED}
    chosen = [one for one in videos if undivided or one["splits"].get(split) == TRAIN]
    return {one["source_sha256"] for one in chosen if "source_sha256" in one}


def _digests(manifest: Mapping[str, Any]) -> dict[str, str]:
    videos = manifest["videos"]
    return {one["name"]: one["source_sha256"] for one in videos if "source_sha256" in one}


def lines(found: Iterable[Overlap]) -> list[tuple[str, str, str]]:
    """Test, what was seen of it, and where, for a reader."""
    return [
        (f"{one.test}, split {one.split}", f"{one.seen:,} of {one.tested:,}", one.where)
        for one in found
    ]
