"""Checkpoints: everything a run needs to go on, written by one rename, outside its outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` is whole or as it was, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def keep(path: Path, name: Path) -> None:
    """Give a checkpoint a second name that later ones do not take over."""
    part = name.with_name(f".{name.name}.part")
    part.unlink(missing_ok=True)
    os.link(path, part)
    part.replace(name)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state at ``path``, or None when there is none yet."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
