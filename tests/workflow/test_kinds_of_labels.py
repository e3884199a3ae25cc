"""Frozen protocols on other labels than a class: both engines give the same predictions."""

from __future__ import annotations

import csv
import json

import pytest

from support.study import ROOT
from videossl.study import params

WANTED = {  # test -> protocol, its metrics, the row and the stage that DVC makes
    "tags": ("linear", {"mAP"}, "scratch", "evaluate-baseline"),
    "frame_class": (
        "linear",
        {"top1", "macro_precision", "macro_recall", "macro_F1"},
        "scratch",
        "evaluate-baseline",
    ),
    "scene": ("leave_one_out", {"top1"}, "rspnet", "evaluate"),
    "pairs": ("similarity", {"accuracy", "accuracy_se", "AUC"}, "rspnet", "evaluate"),
}


@pytest.mark.slow
def test_both_engines_make_the_same_predictions(tiny):
    probes = params.read(ROOT / "configs/transfer.yaml")["probe"]
    tests = {name: probes[name] for name in WANTED}
    tiny.overlay(json.dumps({"probe": tests, "methods": {"rho_moco": None}}))
    tiny.run("snakemake", "--cores", "2")
    with (tiny.root / "runs/report/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = {(r["row"], r["test"], r["protocol"], r["metric"]) for r in rows if r["test"] in WANTED}
    assert shown == {
        (row, test, protocol, metric)
        for row in ("scratch", "rspnet")
        for test, (protocol, metrics, *_) in WANTED.items()
        for metric in metrics
    }
    tiny.run("dvc", "repro", *(f"{made[3]}@{made[2]}-{test}" for test, made in WANTED.items()))
    for test, (protocol, _, row, _) in WANTED.items():
        place = f"evaluate/{row}/{test}/{protocol}/seed-0/split-1"
        (folder,) = (tiny.root / "runs" / place).iterdir()
        for name in ("predictions.npz", "metrics.json"):
            made = (tiny.root / "results" / place / name).read_bytes()
            assert (folder / name).read_bytes() == made, (place, name)
    assert tiny.run("videossl", "metrics", "--samples", "5").returncode == 0
