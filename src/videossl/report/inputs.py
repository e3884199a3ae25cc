"""Reading what earlier stages wrote, and refusing what other parameters made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videossl.job import Job, UserError

if TYPE_CHECKING:
    from videossl.study.reads import AggregateParams

ROLES = ("data", "encoders", "features", "classifiers", "evaluations")  # in the order of the work
EXAMPLES = "examples"  # of each test; they are looked up and have no numbers of their own
SECTIONS = ("data", "methods", "baselines", "finetune", "probe")  # whose leaves are compared
ABSENT: Any = object()  # in place of a value that is not there


@dataclass(frozen=True)
class Folder:
    """The output of one stage instance and what it says about itself (``stage.json``)."""

    path: Path
    record: Mapping[str, Any]

    @property
    def stage(self) -> str:
        """The stage that made it."""
        return str(self.record["stage"])

    @property
    def key(self) -> Mapping[str, str]:
        """What tells it from other outputs of its stage."""
        key: Mapping[str, str] = self.record["key"]
        return key

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of it."""
        return read_json(self.path / name)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file; bytes that are not UTF-8 stay in it as surrogates.

    Raises:
        UserError: it is absent, or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected an object, found {type(value).__name__}")
    return value


def read(job: Job) -> dict[str, list[Folder]]:
    """Role -> what plays it, in the order given."""
    return {
        role: [Folder(path, read_json(path / "stage.json")) for path in job.inputs.get(role, ())]
        for role in (*ROLES, EXAMPLES)
    }


# ------------------------------------------------------------------ made with these parameters?


def check_agreement(folders: Iterable[Folder], params: AggregateParams) -> None:
    """Refuse outputs that were made with other parameters, or with several.

    A file of parameters that is edited while a workflow runs can leave such outputs behind.

    Raises:
        UserError: naming the folder, the key and both values.
    """
    seen: dict[str, tuple[Any, Path]] = {}
    for folder in folders:
        for key, found in folder.record["params"].items():
            if key.partition(".")[0] in SECTIONS:
                given = _given(params, key)
                if not _same(found, given):
                    raise UserError(
                        f"{folder.path}: made with {key} = {_text(found)}, but params.yaml has "
                        f"{_text(given)}; run the workflow again"
                    )
            other, path = seen.setdefault(key, (found, folder.path))
            if not _same(found, other):
                raise UserError(
                    f"{folder.path}: made with {key} = {_text(found)}, but {path} with "
                    f"{_text(other)}; run the workflow again"
                )


def _given(params: AggregateParams, key: str) -> Any:
    """The value at a dotted key, or ``ABSENT``."""
    value: Any = params
    for part in key.split("."):
        entries = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
        if part not in entries:
            return ABSENT
        value = entries[part]
    return value


def _same(one: Any, other: Any) -> bool:
    """Equality in which 1 is 1.0 but not true."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _text(value: Any) -> str:
    return "no such key" if value is ABSENT else repr(value)
