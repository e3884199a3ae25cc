"""The loop: exact resume after kills, errors in one line, and what it hands to a method."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from support.toy import Toy, fit
from videossl.job import Stopped, UserError
from videossl.train import loop, step


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path):
    torch.set_num_threads(1)
    whole = Toy()
    curve = fit(tmp_path / "whole", whole)
    for stop_at in (1, 3, 7):
        folder = tmp_path / str(stop_at)
        with pytest.raises(Stopped, match=f"saved at step {stop_at}"):
            fit(folder, Toy(stop_at))
        task = Toy()
        assert fit(folder, task) == curve
        assert task.steps == 10 - stop_at
        for name, value in whole.module.state_dict().items():
            assert torch.equal(task.module.state_dict()[name], value), name
        for name, value in whole.best["state"].items():
            assert torch.equal(task.best["state"][name], value), name


def test_batches_made_ahead_are_those_made_in_turn(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    ahead, in_turn = Toy(), Toy()
    fit(tmp_path / "ahead", ahead)
    monkeypatch.setattr(step, "prefetch", lambda items, work: (work(item) for item in items))
    fit(tmp_path / "turn", in_turn)
    for name, value in ahead.module.state_dict().items():
        assert torch.equal(in_turn.module.state_dict()[name], value), name


def test_the_curve_has_a_row_per_epoch(tmp_path):
    curve = fit(tmp_path, Toy())
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in curve] == [2, 4, 6, 8, 10]
    assert list(curve[0]) == ["step", "epoch", "loss", "lr", "score"]


def test_speed_has_a_row_per_epoch_also_after_a_stop(tmp_path):
    with pytest.raises(Stopped):
        fit(tmp_path, Toy(3))
    fit(tmp_path, Toy())
    rows = pd.read_csv(tmp_path / "speed.tsv", sep="\t")
    assert rows["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert (rows["videos_per_second"] > 0).all()
    assert rows["waiting_share"].between(0, 1).all()
    assert (rows["peak_memory"] > 10).all()


@pytest.mark.parametrize("scale", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_is_one_line(tmp_path, scale):
    with pytest.raises(UserError, match=r"pretrain/toy/seed-0: the loss is (inf|nan) in epoch 1"):
        fit(tmp_path, Toy(scale=scale))


def test_the_last_good_epoch_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDEOSSL_CHECKPOINT_SECONDS", "0")
    task = Toy()

    def refuse(epoch):
        if epoch == 3:
            raise UserError("not in order")
        return {}

    task.after_epoch = refuse
    with pytest.raises(UserError, match=r"not in order; the state of the last good epoch is kept"):
        fit(tmp_path, task)
    assert not (tmp_path / "scratch" / "checkpoint.pt").exists()
    again = Toy()
    fit(tmp_path, again)
    assert again.steps == 10 - 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="bfloat16 is allowed on a GPU")
def test_bfloat16_is_refused_on_the_cpu(tmp_path):
    with pytest.raises(UserError, match="precision = 'bfloat16': wrong gradients on the CPU"):
        fit(tmp_path, Toy(), precision="bfloat16")


def test_weights_that_are_not_finite_are_refused_though_the_loss_was(tmp_path):
    task = Toy()

    def spoil(progress):
        if task.steps == 4:  # after the last step of epoch 2
            with torch.no_grad():
                task.module[0].bias[1] = math.nan

    task.after_step = spoil
    with pytest.raises(UserError, match=r"a weight is not finite in epoch 2;.*epoch is kept"):
        fit(tmp_path, task)


@pytest.mark.parametrize("text", ["soon", "nan", "-1"])
def test_seconds_between_checkpoints_are_a_number(tmp_path, monkeypatch, text):
    monkeypatch.setenv("VIDEOSSL_CHECKPOINT_SECONDS", text)
    with pytest.raises(UserError, match=f"CHECKPOINT_SECONDS = '{text}': allowed are seconds"):
        fit(tmp_path, Toy())


def test_an_empty_setting_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDEOSSL_CHECKPOINT_SECONDS", "")
    fit(tmp_path, Toy())


def test_a_warm_up_fits_into_the_training(tmp_path):
    fit(tmp_path / "whole", Toy(), warmup_epochs=5)
    with pytest.raises(UserError, match="warmup_epochs = 6: the training has only 5 epochs"):
        fit(tmp_path / "longer", Toy(), warmup_epochs=6)


def test_ranks_that_read_different_checkpoints_do_not_train(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.distributed, "gather", lambda x: torch.tensor([4, 6]))
    with pytest.raises(UserError, match=r"ranks read checkpoints of steps \[4, 6\]"):
        fit(tmp_path, Toy())
