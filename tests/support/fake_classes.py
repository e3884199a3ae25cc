"""A made-up study of the linear probe with predictions of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from support.fake_study import FakeStudy, probe
from videossl.downstream import examples
from videossl.downstream.examples import Examples

NAMES = ("GrowCircle", "ShakeFast", "OrbitLeft", "<script>alert(1)</script>")
EACH = 10  # test examples of each class


def labels(classes: int) -> np.ndarray:
    """(EACH * classes,) the class of each test example."""
    return np.arange(EACH * classes) % classes


def study(root: Path, names: Sequence[str] = NAMES) -> FakeStudy:
    """Its examples, ``EACH`` of each class, and encoders; no row is tested yet."""
    root.mkdir(parents=True, exist_ok=True)
    fake = FakeStudy(root, probe={"synthetic": probe(protocols=("linear",))})
    fake.decoding("synthetic")
    fake.encoders()
    folder = fake.stage("select", "examples", 0.1, {"form": "probe", "test": "synthetic"})
    numbers = labels(len(names))
    videos = [f"v_{number:04d}" for number in range(len(numbers))]
    parts = {"1": ["test"] * len(numbers)}
    examples.write(Examples(videos, numbers, list(names), parts), {}, folder)
    return fake


def predict(fake: FakeStudy, row: str, guesses: np.ndarray) -> None:
    """The linear probe's predictions of a row: its guess for each example."""
    truth = labels(len(guesses) // EACH)
    right = (guesses == truth).astype(np.float32)
    folder = fake.evaluation(row, "linear", {"top1": float(right.mean())}, n=len(truth))
    scores = np.eye(len(guesses) // EACH)[guesses]
    values = {"examples": np.arange(len(truth)), "labels": truth, "scores": scores}
    np.savez(folder / "predictions.npz", **values, **{"value.top1": right})


def confused(fake: FakeStudy, classes: int = len(NAMES)) -> FakeStudy:
    """Both rows tested: shares of every shade are among what they take for what."""
    truth = labels(classes)
    rng = np.random.default_rng(5)
    for row, share in (("scratch", 0.7), ("rspnet", 0.3)):
        guesses = np.where(rng.random(len(truth)) < share, rng.integers(0, 3, len(truth)), truth)
        predict(fake, row, guesses)
    return fake
