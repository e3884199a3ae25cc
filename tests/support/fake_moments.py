"""Made-up tests of boxes and of gaze: frames of one colour, what is true, what two rows find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from support import fake_gallery
from support.fake_study import FakeStudy
from videossl.downstream import examples
from videossl.downstream.examples import Examples

CLASSES = ["stand", "<b>talk</b>", "sit"]
COUNT = 7  # examples; all are tested
PICKED = [0, 2, 4, 6]
ROWS = ("scratch", "rspnet")
METRIC = {"detection": "frame_mAP", "saliency": "KL"}


def study(root: Path, protocol: str) -> FakeStudy:
    """Two rows that were tested by ``detection`` or ``saliency``."""
    made = FakeStudy(root, probe={})
    del made.methods["rho_moco"]
    fake_gallery.store(made.decoding("synthetic"))
    folder = made.stage("select", "examples", 0.1, {"form": "finetune", "test": "synthetic"})
    names = [fake_gallery.name(video) for video in range(COUNT)]
    targets: Any = [{"boxes": [], "classes": []} for _ in names]
    frames = np.arange(COUNT)
    table = Examples(names, targets, CLASSES, {"1": ["test"] * COUNT}, frames)
    examples.write(table, {}, folder)
    made.encoders()
    arrays = boxes if protocol == "detection" else gaze
    for number, row in enumerate(ROWS):
        test(made, row, protocol, **arrays(number))
    return made


def test(made: FakeStudy, row: str, protocol: str, **arrays: Any) -> Path:
    """The output of ``test`` of one row."""
    folder = made.evaluation(row, protocol, {METRIC[protocol]: 0.5}, n=COUNT)
    np.savez(folder / "predictions.npz", **({"examples": np.arange(COUNT)} | arrays))
    return folder


def boxes(row: int) -> dict[str, Any]:
    """Each example has a box on the right and one on the left, but for the last, which has none."""
    ends = np.minimum(2 * np.arange(COUNT + 1), 2 * COUNT - 2)
    ranges = np.stack([ends[:-1], ends[1:]], axis=1)
    places = np.tile([[0.6, 0.25, 0.9, 0.75], [0.1, 0.25, 0.4, 0.75]], (COUNT - 1, 1))
    labels = np.tile([[True, True, False], [False, False, True]], (COUNT - 1, 1))
    scores = np.tile([[0.9, 0.2, 0.1], [0.1, 0.3, 0.654]], (COUNT - 1, 1))
    scores = np.roll(scores, row, axis=1)  # rows find different classes
    return {
        "found_places": places[None],
        "found_range": ranges,
        "scores": scores[None].astype(np.float32),
        "true_places": places[None],
        "true_range": ranges,
        "labels": labels[None],
    }


def gaze(row: int) -> dict[str, Any]:
    """Looked at is the upper left; a row finds that, or the lower right."""
    maps = np.full((COUNT, 8, 8), 1e-6, np.float32)
    at = (1, 1) if row else (6, 6)
    maps[:, at[0], at[1]] = 1
    points = np.full((COUNT, 2, 2), np.nan, np.float32)
    points[:, 0] = 0.25
    return {"maps": maps, "points": points}
