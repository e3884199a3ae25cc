"""What the tables of a study are made of: its rows, and which test has which protocols.

A row is compared with the first baseline that has its backbone. Tests on the same labels of the
same dataset share a table; a test may train the network (``finetune``) or leave it (``probe``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from videossl.downstream import declarations

if TYPE_CHECKING:
    from videossl.report.results import Evaluation
    from videossl.study.reads import AggregateParams
    from videossl.study.schema import Finetune, Probe

NO_METHOD = "none"  # the method of a row that is not pretrained here

METHOD_TITLES = {
    "rspnet": "RSPNet",
    "rho_moco": "ρMoCo",
    "rho_byol": "ρBYOL",
    "rho_simclr": "ρSimCLR",
    "rho_swav": "ρSwAV",
    "vtdl": "VTDL",
    "hdc": "HDC",
    "sts": "STS",
    "order_geometry": "Order+Geometry",
    "v3s": "V3S",
    "modist": "MoDist",
}


@dataclass(frozen=True)
class Row:
    """A row of the study.

    Attributes:
        method: ``none`` for a row that is not pretrained here.
        baseline: the row it is compared with; ``None`` where no other baseline has its backbone.
    """

    name: str
    method: str
    backbone: str
    baseline: str | None

    @property
    def pretrained(self) -> bool:
        """Whether the study pretrains it."""
        return self.method != NO_METHOD

    @property
    def title(self) -> str:
        """The method as the field writes it, and the row's own name where it is a variant."""
        if not self.pretrained:
            return self.name
        method = METHOD_TITLES.get(self.method, self.method)
        return method if self.name == self.method else f"{method} ({self.name})"


@dataclass(frozen=True)
class Group:
    """The columns of one test and protocol: a column per metric."""

    form: str  # the section of params.yaml that the test is in: finetune or probe
    test: str
    protocol: str
    dataset: str
    labels: str
    splits: tuple[int, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.form, self.test, self.protocol

    @property
    def title(self) -> str:
        """The protocol for a reader."""
        return declarations.protocol(self.protocol).title


def rows(params: AggregateParams) -> tuple[Row, ...]:
    """Baselines, then what is pretrained, each in the order of ``params.yaml``."""
    first: dict[str, str] = {}  # backbone -> the baseline that others are compared with
    for name, entry in params.baselines.items():
        first.setdefault(entry.backbone, name)
    entries = [(name, NO_METHOD, entry.backbone) for name, entry in params.baselines.items()]
    entries += [(name, entry.method, entry.backbone) for name, entry in params.methods.items()]
    return tuple(
        Row(name, method, backbone, None if first.get(backbone) == name else first.get(backbone))
        for name, method, backbone in entries
    )


def groups(params: AggregateParams, results: Iterable[Evaluation]) -> tuple[Group, ...]:
    """All groups of columns: test by test, of each what trains the network first.

    What a fine-tuned network is tested by follows from the test's labels, so the results say it.
    """
    tuned: dict[str, list[str]] = {}
    for result in results:
        if result.form == "finetune":
            tuned.setdefault(result.test, []).append(result.protocol)
    found = []
    for test in dict.fromkeys((*params.finetune, *params.probe)):
        if test in params.finetune:
            names = dict.fromkeys(tuned.get(test, ()))
            found += [_group("finetune", test, name, params.finetune[test]) for name in names]
        if test in params.probe:
            spec = params.probe[test]
            found += [_group("probe", test, name, spec) for name in spec.run]
    return tuple(found)


def _group(form: str, test: str, protocol: str, spec: Finetune | Probe) -> Group:
    return Group(form, test, protocol, spec.data, spec.labels, tuple(spec.splits))


def subjects(found: Iterable[Group]) -> list[tuple[str, str]]:
    """Dataset and labels of each table, in the order of the tests."""
    return list(dict.fromkeys((group.dataset, group.labels) for group in found))
