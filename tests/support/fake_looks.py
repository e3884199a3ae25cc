"""Made-up occlusion maps, as ``test`` would have kept them, and the names of their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from support.fake_study import FakeStudy
from videossl.downstream import examples
from videossl.downstream.examples import Examples

CLASSES = ["Red", "<b>Green</b>"]
FRAMES, SIDE, GRID = 4, 16, 8
LABELS, PREDICTED = [0, 1, 1], [0, 1, 0]
PROBABILITY = [0.914, 0.6, 0.5]
PLACES = [(0, 0), (7, 7), (3, 4)]  # of the one square that costs something
COST = [0.5, 0.25, 0.001]


def classes(study: FakeStudy) -> None:
    """The output of ``select`` of the test that trains the network."""
    folder = study.stage("select", "examples", 0.1, {"form": "finetune", "test": "synthetic"})
    table = Examples(["a", "b"], np.array([0, 1]), CLASSES, {"1": ["test"] * 2})
    examples.write(table, {}, folder)


def look(study: FakeStudy, row: str, seed: int = 0, **changes: Any) -> Path:
    """Write the maps of one row; ``changes`` are other arrays, or ``None`` for one that is absent.

    Returns:
        The path of the file.
    """
    drops = np.zeros((3, GRID, GRID), np.float32)
    for one, place, cost in zip(drops, PLACES, COST, strict=True):
        one[place] = cost
        one[5, 0] = -0.2
    arrays: dict[str, Any] = {
        "examples": np.array([2, 5, 9]),
        "labels": np.array(LABELS),
        "predicted": np.array(PREDICTED),
        "probability": np.array(PROBABILITY, np.float32),
        "clips": np.full((3, FRAMES, SIDE, SIDE, 3), 200, np.uint8),
        "drops": drops,
        "share": np.float32(0.25),
    }
    arrays |= changes
    folder = study.root / "test" / row / "synthetic" / str(seed) / "1" / "5f3a"
    np.savez(folder / "occlusion.npz", **{k: v for k, v in arrays.items() if v is not None})
    return folder / "occlusion.npz"
