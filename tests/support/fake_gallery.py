"""A made-up study that searched: stored videos of one colour each, examples, nearest videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from support.fake_study import FakeStudy, probe
from videossl.data.shards import records
from videossl.data.shards.builder import ShardBuilder, publish
from videossl.downstream import examples
from videossl.downstream.examples import Examples

CLASSES = ["Red", "Green", "<script>alert(1)</script>"]
TRAIN, TEST = 9, 6  # videos; the class of each is its number modulo 3
FRAMES, HEIGHT, WIDTH = 11, 40, 60
LABELS = np.arange(TRAIN + TEST) % 3
# of each test video the rows of the training part that are nearest, by row of the table
NEAREST = {
    "scratch": [[0, 3, 1, 2, 4], [0, 2, 3, 5, 6], [0, 1, 3, 4, 6], *[[1, 2, 4, 5, 0]] * 3],
    "rspnet": [[0, 3, 6, 1, 2], [1, 4, 7, 0, 2], [0, 1, 3, 4, 6], *[[0, 1, 2, 3, 4]] * 3],
}


def colour(video: int, frame: int) -> list[int]:
    """RGB of a whole frame: red tells the video, green the frame."""
    return [10 + 15 * video, 20 * frame, 128]


def pixels(video: int) -> np.ndarray:
    """(T, H, W, 3): of one colour but for black margins, which a middle square leaves out."""
    found = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for frame in range(FRAMES):
        found[frame, :, 10:50] = colour(video, frame)
    return found


def name(video: int) -> str:
    """With a quote, which is markup in an attribute."""
    return f'v"{video}.avi'


def part(video: int) -> str:
    return "test" if video % 5 >= 3 else "train"  # so numbers of parts and of examples differ


def train() -> list[int]:
    return [video for video in range(TRAIN + TEST) if part(video) == "train"]


def test() -> list[int]:
    return [video for video in range(TRAIN + TEST) if part(video) == "test"]


def store(folder: Path) -> None:
    """Replace a made-up manifest by stored videos."""
    (folder / "manifest.json").unlink(missing_ok=True)
    build = ShardBuilder(folder / "scratch", 1 << 20)
    for video in range(TRAIN + TEST):
        frames = [records.encoder("raw", 0)(frame) for frame in pixels(video)]
        facts = {"label": int(LABELS[video]), "splits": {"1": part(video)}}
        size = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH, "fps": 25.0}
        build.add(
            records.pack(frames, "raw", HEIGHT, WIDTH), {"name": name(video), **facts, **size}
        )
    rejects = build.close()
    head = {"classes": CLASSES, "codec": "raw", "channels": 3}
    publish(folder, build.finished, rejects, head)


def searched(root: Path) -> FakeStudy:
    """Two rows that looked for the nearest training videos of every test video."""
    study = FakeStudy(root, probe={"synthetic": probe(protocols=("retrieval",))})
    del study.methods["rho_moco"]
    store(study.decoding("synthetic"))
    folder = study.stage("select", "examples", 0.1, {"form": "probe", "test": "synthetic"})
    count = range(TRAIN + TEST)
    parts = {"1": [part(video) for video in count]}
    made = Examples([name(v) for v in count], np.array(LABELS), CLASSES, parts)
    examples.write(made, {}, folder)
    study.encoders()
    for row, nearest in NEAREST.items():
        search(study, row, np.array(nearest))
    return study


def search(study: FakeStudy, row: str, nearest: np.ndarray, **changes: np.ndarray) -> Path:
    """What ``evaluate`` writes of a row by the protocol ``retrieval``."""
    labels = LABELS[test()]
    found = LABELS[np.array(train())[nearest]]
    hit = (found == labels[:, None]).any(axis=1)
    share = {"R@5": float(hit.mean())}
    folder = study.evaluation(row, "retrieval", share, n=TEST)
    arrays = {
        "examples": np.array(test()),
        "labels": labels,
        "neighbours": nearest,
        "neighbour_labels": found,
        "value.R@5": hit.astype(np.float32),
    }
    np.savez(folder / "predictions.npz", **(arrays | changes))
    assert json.loads((folder / "metrics.json").read_text())["n"] == TEST
    return folder
