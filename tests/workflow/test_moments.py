"""Tests of moments of videos: both engines give the same, and testing twice does."""

from __future__ import annotations

import json
import math
import shutil
from typing import Any

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


@pytest.fixture
def moments(study: Study) -> Study:
    """The tiny study of no method, with fine-tuning on each kind of moments and nothing else.

    The network of the boxes is dilated, that of the others is not: the weights are the same.
    """
    study.shrink([])
    tests = params.read(ROOT / "configs/transfer.yaml")["finetune"]
    tiny = {"clip": {"frames": 4, "stride": 2, "size": 32}, "share": 0.5, "epochs": 2}
    tuned: dict[str, Any] = {name: {**tests[name], **tiny} for name in METRICS}
    tuned["boxes"]["dilated"] = True
    overlay = {
        "backbone": {"small": {"name": "slow", "depth": 18, "blocks": None}},
        "finetune": {"synthetic": None, **tuned},
        "probe": {"synthetic": None},
    }
    study.overlay(json.dumps(overlay))
    study.commit("tiny")
    return study


@pytest.mark.slow
def test_moments_are_tested_alike_in_both_engines(moments: Study) -> None:
    moments.run("snakemake", "--cores", "2")
    found = json.loads((moments.root / "runs/report/metrics.json").read_text())["scratch"]
    for name, (protocol, metrics) in METRICS.items():
        assert set(found[f"finetune/{name}"][protocol]) >= metrics
    page = (moments.root / "runs/report/report.html").read_text()
    assert page.count('alt="Frame 4, scratch') == 2  # of boxes and of gaze
    again = moments.run("videossl", "metrics", "--samples", "5").stdout
    assert again.count("AUC_Judd") == 1
    moments.run("videossl", "adopt")
    shutil.rmtree(moments.root / "results/test")
    stages = [f"test-baseline@scratch-{name}" for name in METRICS]
    moments.run("dvc", "repro", "--single-item", "--force", *stages)
    for name, (protocol, metrics) in METRICS.items():
        (made,) = moments.root.glob(f"runs/test/scratch/{name}/seed-0/split-1/*")
        record = json.loads((made / "metrics.json").read_text())
        assert record["protocol"] == protocol
        assert set(record["metrics"]) == metrics
        assert all(map(math.isfinite, record["metrics"].values()))
        other = moments.root / "results/test/scratch" / name / "seed-0/split-1"
        for file in ("predictions.npz", "metrics.json"):
            assert (made / file).read_bytes() == (other / file).read_bytes(), (name, file)
