"""Real UCF101 and HMDB51 files in UCF101's layout: from decoding to retrieval."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.study import ROOT
from videossl import cli
from videossl.study import params

CLIPS = {
    "SoccerJuggling": ("v_SoccerJuggling_g23_c01.avi", 240),
    "Wave": ("RATRACE_wave_f_nm_np1_fr_goo_37.avi", 72),
    "Cartwheel": ("hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi", 83),
}
FOLDER = next((p / "shared/videos" for p in ROOT.parents if (p / "shared/videos").is_dir()), None)

SMALL = {"frames": 4, "stride": 2, "size": 32}


def overlay(root: str) -> dict[str, Any]:
    """What makes the shipped study one of the dataset at ``root``; the rest of each test stays."""
    shipped = params.read(ROOT / "params.yaml")
    finetune, probe = shipped["finetune"]["synthetic"], shipped["probe"]["synthetic"]
    test = {"data": "ucf101", "clip": SMALL}
    return {
        "data": {
            "synthetic": None,
            "ucf101": {"format": "ucf101", "root": root, "missing": 0.0, "revision": 1},
        },
        "decode": {"short_side": 32},
        "optimizer": {name: {"warmup_epochs": 0} for name in ("adamw", "adamw_finetune")},
        "motion": {"flow": None, "edges": None},
        "pretrain": {"short": {"epochs": 1, "batch_size": 3}},
        "methods": {"rspnet": {"data": "ucf101", "queue": 6}},
        "finetune": {
            "synthetic": None,
            "ucf101": finetune
            | test
            | {"share": 1.0, "validation": 0.0, "epochs": 1, "batch_size": 3}
            | {"test": finetune["test"] | {"clips": 2, "batch_size": 8, "topk": [1]}},
        },
        "probe": {
            "synthetic": None,
            "ucf101": {name: probe[name] for name in ("labels", "splits")}
            | test
            | {"features": probe["features"] | {"clips": 2, "batch_size": 8}}
            | {"knn": probe["knn"] | {"neighbours": 1}, "retrieval": {"topk": [1]}},
        },
    }


def build_tree(root: Path, videos: Path) -> None:
    """Each clip twice: one copy for training, one for testing."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = sorted(CLIPS)
    numbered = [f"{k} {name}\n" for k, name in enumerate(names, 1)]
    (lists / "classInd.txt").write_text("".join(numbered))
    train, test = [], []
    for label, name in enumerate(names, 1):
        folder = root / "UCF-101" / name
        folder.mkdir(parents=True)
        for group, part in ((1, train), (2, test)):
            file = f"v_{name}_g{group:02d}_c01.avi"
            shutil.copy(videos / CLIPS[name][0], folder / file)
            part.append(f"{name}/{file}" + (f" {label}\n" if part is train else "\n"))
    (lists / "trainlist01.txt").write_text("".join(train))
    (lists / "testlist01.txt").write_text("".join(test))


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason="the real clips (shared/videos) are not on this machine")
def test_real_videos_run_through_the_pipeline(study, tmp_path):
    assert FOLDER is not None
    root = tmp_path / "dataset"
    build_tree(root, FOLDER)
    study.shrink(["rspnet"])
    study.overlay(json.dumps(overlay(str(root))))
    study.run("snakemake", "--cores", "2")

    (manifest,) = study.root.glob("runs/decode/ucf101/*/manifest.json")
    stored = json.loads(manifest.read_text())
    assert stored["rejects"] == []
    for video in stored["videos"]:
        assert video["frames"] == CLIPS[video["name"].split("/")[0]][1]
    metrics = json.loads((study.root / "runs/report/metrics.json").read_text())
    for row in ("scratch", "rspnet"):
        # the test copies are the training copies, so the nearest video is of the same class
        assert metrics[row]["probe/ucf101"]["retrieval"]["R@1"] == 1.0


@pytest.mark.parametrize("overlay", sorted(p.name for p in (ROOT / "configs").glob("*.yaml")))
def test_overlays_fit(shipped, overlay):
    head = (ROOT / "configs" / overlay).read_text().partition("\n\n")[0]
    commands = re.findall(r"videossl configure (\S+)", head)
    assert commands[-1] == f"configs/{overlay}", "the head of an overlay says how to lay it"
    for command in (*(["configure", file] for file in commands), ["check"]):
        assert cli.main(command) == 0
