"""What pictures of a test are made of: evaluations, tables of examples, stored videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videossl.report.inputs import Folder
from videossl.report.layout import Group, Row
from videossl.report.results import Evaluation, by_place


@dataclass(frozen=True)
class Sources:
    """The study's rows and groups of columns, and where what they show is looked up.

    Attributes:
        places: row and key of a group -> its evaluations.
        tables: form and test -> the output of ``select``.
        shards: dataset -> the output of ``decode``.
    """

    rows: Sequence[Row]
    groups: Sequence[Group]
    places: Mapping[tuple[str, tuple[str, str, str]], Sequence[Evaluation]]
    tables: Mapping[tuple[str, str], Path]
    shards: Mapping[str, Path]

    @classmethod
    def of(
        cls,
        evaluations: Sequence[Evaluation],
        rows: Sequence[Row],
        groups: Sequence[Group],
        selected: Sequence[Folder],
        data: Sequence[Folder],
    ) -> Sources:
        """From the outputs that ``aggregate`` reads."""
        return cls(
            rows,
            groups,
            by_place(evaluations),
            {(one.key["form"], one.key["test"]): one.path for one in selected},
            {one.key["dataset"]: one.path for one in data},
        )

    def complete(self, group: Group) -> bool:
        """Whether its examples and its stored videos are there."""
        return (group.form, group.test) in self.tables and group.dataset in self.shards
