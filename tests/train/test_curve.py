"""Curves as files and in TensorBoard."""

import sys

import pandas as pd
import pytest

from videossl.job import Job, UserError
from videossl.train import curve

ROWS = [
    {"step": 12345678, "epoch": 1, "loss": 0.123456789, "lr": 3e-8},
    {"step": 24691356, "epoch": 2, "loss": 0.1, "lr": 0.0, "neighbour_accuracy": 0.5},
]


def job(folder):
    return Job("pretrain", {"row": "rspnet", "seed": "0"}, {}, folder, folder, 1, {})


def test_what_is_absent_is_empty(tmp_path):
    curve.write(ROWS, tmp_path / "curve.tsv")
    lines = (tmp_path / "curve.tsv").read_text().splitlines()
    assert lines[0] == "step\tepoch\tloss\tlr\tneighbour_accuracy"
    assert lines[1] == "12345678\t1\t0.1234568\t3e-08\t"
    read = pd.read_csv(tmp_path / "curve.tsv", sep="\t")
    assert read["neighbour_accuracy"].isna().tolist() == [True, False]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rows_reach_tensorboard_and_a_run_that_goes_on_adds_to_them(tmp_path, monkeypatch):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is absent"
    )
    monkeypatch.setenv(curve.FOLDER, str(tmp_path))
    for done in range(2):
        board = curve.Board(job(tmp_path), ROWS[:done])
        board.add(ROWS[done])
        board.close()
    events = accumulator.EventAccumulator(str(tmp_path / "pretrain" / "rspnet" / "seed-0"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [1, 2]
    assert events.Scalars("loss")[0].value == pytest.approx(0.123456789)
    assert set(events.Tags()["scalars"]) == {"loss", "lr", "neighbour_accuracy"}


def test_without_the_package_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    curve.Board(job(tmp_path), []).add(ROWS[0])  # nobody asked
    monkeypatch.setenv(curve.FOLDER, "events")
    with pytest.raises(UserError, match="TensorBoard is not installed; pip install tensorboard"):
        curve.Board(job(tmp_path), [])
