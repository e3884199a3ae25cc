"""Classes that moved, and which is taken for which, counted again by hand."""

from __future__ import annotations

import numpy as np
import pytest

from support.fake_study import FakeStudy, probe, run
from videossl.downstream import examples
from videossl.downstream.examples import Examples
from videossl.job import UserError

NAMES = ["GrowCircle", "ShakeFast", "OrbitLeft", "<script>alert(1)</script>"]
LABELS = np.arange(40) % 4


def predict(study: FakeStudy, row: str, guesses: np.ndarray) -> None:
    """The linear probe's predictions of a row: its guess for each of 40 examples."""
    right = (guesses == LABELS).astype(np.float32)
    folder = study.evaluation(row, "linear", {"top1": float(right.mean())}, n=40)
    scores = np.eye(4)[guesses]
    values = {"examples": np.arange(40), "labels": LABELS, "scores": scores, "value.top1": right}
    np.savez(folder / "predictions.npz", **values)


@pytest.fixture
def predicted(empty_study: FakeStudy) -> FakeStudy:
    empty_study.probe = {"synthetic": probe(protocols=("linear",))}
    empty_study.decoding("synthetic")
    empty_study.encoders()
    key = {"form": "probe", "test": "synthetic"}
    folder = empty_study.stage("select", "examples", 0.1, key)
    names = [f"v_{number:04d}" for number in range(len(LABELS))]
    parts = {"1": ["test"] * len(LABELS)}
    examples.write(Examples(names, np.array(LABELS), NAMES, parts), {}, folder)
    return empty_study


def test_gains_and_confusions(predicted, tmp_path):
    predict(predicted, "scratch", np.zeros(40, int))  # right for the first class alone
    guesses = LABELS.copy()
    guesses[LABELS == 0] = 1
    guesses[np.flatnonzero(LABELS == 2)[:3]] = 3
    predict(predicted, "rspnet", guesses)
    page = (run(predicted, tmp_path / "out") / "report.html").read_text()
    section = page.partition('<h2 id="classes">')[2].partition("</section>")[0]
    assert "Linear probe: synthetic" in section
    rows = section.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr>")[1:]
    wanted = [("GrowCircle", "down", "−100"), ("ShakeFast", "up", "+100")]
    wanted += [("&lt;script&gt;alert(1)&lt;/script&gt;", "up", "+100"), ("OrbitLeft", "up", "+70")]
    for row, (name, way, points) in zip(rows, wanted, strict=True):
        assert f'<th scope="row">{name}</th>' in row
        assert f'<td class="{way}">{points}</td>' in row
    told = section.partition("What RSPNet takes for what")[2]
    assert told.index("GrowCircle for ShakeFast: 10 of 10 examples") < told.index(
        "OrbitLeft for &lt;script&gt;alert(1)&lt;/script&gt;: 3 of 10 examples"
    )
    assert "<script>alert" not in page


def test_without_predictions_or_a_baseline_there_is_no_table(predicted, tmp_path):
    predict(predicted, "rspnet", LABELS.copy())
    page = (run(predicted, tmp_path / "out") / "report.html").read_text()
    assert "No predictions of classes yet." in page


def test_damaged_predictions_are_one_line(predicted, tmp_path):
    predict(predicted, "scratch", LABELS.copy())
    (path,) = predicted.root.rglob("predictions.npz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"predictions.npz: cannot be read"):
        run(predicted, tmp_path / "out")
