"""Tests of moments of videos run in both engines, and testing once more gives the same."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from support.study import ROOT, Study
from videossl.study import params

METRICS = {
    "boxes": ("detection", {"frame_mAP"}),
    "frame_class": (
        "frame_classification",
        {"top1", "macro_precision", "macro_recall", "macro_F1"},
    ),
    "gaze": ("saliency", {"KL", "NSS", "AUC_Judd", "CC", "SIM"}),
}
ROWS = ("rspnet", "scratch")


@pytest.fixture
def moments(study: Study) -> Study:
    """The tiny study of one method, with fine-tuning on each kind of moments and nothing else."""
    study.shrink(["rspnet"])
    tests = params.read(ROOT / "configs/transfer.yaml")["finetune"]
    tiny = {"clip": {"frames": 4, "stride": 2, "size": 32}, "share": 0.5, "epochs": 2}
    overlay = {
        "finetune": {"synthetic": None, **{name: {**tests[name], **tiny} for name in METRICS}},
        "probe": {"synthetic": None},
    }
    study.overlay(json.dumps(overlay))
    study.commit("tiny")
    return study


@pytest.mark.slow
def test_moments_are_tested_in_both_engines(moments: Study) -> None:
    moments.run("snakemake", "--cores", "2")
    tests = {}
    for name, (protocol, metrics) in METRICS.items():
        for row in ROWS:
            (made,) = moments.root.glob(f"runs/test/{row}/{name}/seed-0/split-1/*")
            record = json.loads((made / "metrics.json").read_text())
            assert record["protocol"] == protocol
            assert set(record["metrics"]) == metrics
            assert all(map(math.isfinite, record["metrics"].values()))
            tests[row, name] = made
        assert (moments.root / "runs/report/metrics.json").read_text().count(protocol) == len(ROWS)
    again = moments.run("videossl", "metrics", "--samples", "5").stdout
    assert again.count("AUC_Judd") == len(ROWS)
    moments.run("videossl", "adopt")
    status = moments.run("dvc", "status", check=False)
    assert "test@" not in status.stdout
    for (row, name), made in tests.items():
        before = np.load(made / "predictions.npz")
        kept = made.rename(made.with_name("before"))
        shutil.rmtree(moments.root / "results/test" / row / name)
        tests[row, name] = kept
        assert len(before["examples"])
    moments.run("snakemake", "--cores", "2")
    for (row, name), kept in tests.items():
        (made,) = (x for x in kept.parent.iterdir() if x != kept)
        assert (made / "predictions.npz").read_bytes() == (kept / "predictions.npz").read_bytes()
        assert (made / "metrics.json").read_bytes() == (kept / "metrics.json").read_bytes(), (
            row,
            name,
        )
