"""The picture of the built-in dataset in docs: a video of each class, as six frames.

    python benchmarks/builtin.py               # writes docs/builtin.jpg

On the last frame are the labels of a moment: the box of what moves, and the point of gaze. Frames
are drawn as they are before they become H.264.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videossl.data.builtin import synthetic
from videossl.study import params
from videossl.study.schema import SyntheticData

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "builtin.jpg"
FRAMES, SIDE, LABEL, GAP = 6, 72, 160, 3  # of a video; pixels of each, of its name, between
COLUMNS, QUALITY = 2, 85
FONT = cv2.FONT_HERSHEY_SIMPLEX
BOX, POINT = (255, 255, 255), (255, 210, 0)


def data() -> SyntheticData:
    """The dataset of params.yaml, at the size of the picture."""
    entry = params.load(ROOT / "params.yaml").data["synthetic"]
    assert isinstance(entry, SyntheticData)
    return entry.model_copy(update={"size": SIDE})


def strip(label: int, entry: SyntheticData) -> NDArray[np.uint8]:
    """A row (H, W, 3) RGB of the first video of a class."""
    video = synthetic.Video(label, group=1, clip=1)
    look, centre, chunks = synthetic.draw_video(video, entry)
    drawn = [(frame, box) for part in chunks for frame, box in zip(part[0], part[2], strict=True)]
    chosen = np.linspace(0, entry.frames // 2, FRAMES).round().astype(int)
    frames = [np.ascontiguousarray(drawn[number][0]) for number in chosen]
    left, top, right, bottom = (round(float(edge)) for edge in drawn[chosen[-1]][1])
    cv2.rectangle(frames[-1], (left, top), (right - 1, bottom - 1), BOX, 1)
    x, y = (round(float(place)) for place in centre[chosen[-1]])
    cv2.circle(frames[-1], (x, y), 2, POINT, -1)
    name = np.full((SIDE, LABEL, 3), 255, np.uint8)
    cv2.putText(name, synthetic.CLASSES[label], (8, 32), FONT, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    about = f"{look.color} {look.texture} {look.shape}"
    cv2.putText(name, about, (8, 52), FONT, 0.34, (110, 110, 110), 1, cv2.LINE_AA)
    edge = ((0, GAP), (0, GAP), (0, 0))
    return np.concatenate(
        [np.pad(one, edge, constant_values=255) for one in (name, *frames)], axis=1
    )


def picture() -> NDArray[np.uint8]:
    """All classes, (H, W, 3) RGB, down the columns."""
    entry = data()
    rows = [strip(label, entry) for label in range(len(synthetic.CLASSES))]
    each = len(rows) // COLUMNS
    columns = [np.concatenate(rows[n * each : (n + 1) * each]) for n in range(COLUMNS)]
    return np.concatenate(columns, axis=1)


def main() -> None:
    """Write it."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    cv2.imwrite(str(PICTURE), cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR), options)


if __name__ == "__main__":
    main()
