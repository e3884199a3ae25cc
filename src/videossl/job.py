"""What a stage process is given besides its parameters: where to read, where to write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any


class UserError(Exception):
    """The user's input is at fault: shown as one line, without a traceback."""


class Stopped(Exception):
    """The stage was asked to stop and saved its state: running it again resumes."""


@dataclass(frozen=True)
class Job:
    """One run of one stage instance.

    ``out`` is a fresh, empty folder; it becomes the stage's output by one rename after the stage
    returned. ``scratch`` survives kills and is removed after that rename; resume state lives there.
    """

    stage: str
    key: Mapping[str, str]  # {"row": "rspnet", "seed": "0"}, {"dataset": "ucf101"}
    inputs: Mapping[str, tuple[Path, ...]]  # role -> outputs of the stages it needs
    out: Path
    scratch: Path
    threads: int
    modules: Mapping[str, ModuleType]  # "method", "backbone", "dataset"
    code: Mapping[str, str] = field(default_factory=dict)  # module -> digest, of all code it runs

    @property
    def seed(self) -> int:
        """Seeds all that is drawn."""
        return int(self.key["seed"])

    @property
    def split(self) -> int:
        """The official split of the dataset."""
        return int(self.key["split"])

    @property
    def name(self) -> str:
        """``<stage>/<key>``, as the engines' folders are called."""
        looped = ("seed", "split")
        parts = (f"{name}-{v}" if name in looped else v for name, v in self.key.items())
        return "/".join((self.stage, *parts))

    def input(self, role: str) -> Path:
        """The one output that plays ``role``."""
        (path,) = self.inputs[role]
        return path


def write_json(path: Path, value: Any) -> None:
    """Write JSON, sorted and indented, ending in a newline; ASCII, whatever names it holds."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="ascii")
