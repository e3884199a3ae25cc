"""Tested videos that a row has seen before are counted by their content, whatever their names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from support.fake_study import FakeStudy, finetune, probe, run
from videossl.downstream import examples
from videossl.downstream.examples import Examples

PARTS = ["train", "train", "train", "test", "test", "test"]


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def videos(contents: str, parts: list[str]) -> list[dict[str, object]]:
    """A video for each letter, which is its content; its name is its place."""
    return [
        {
            "name": f"v{place}",
            "label": 0,
            "splits": {"1": part},
            "frames": 40,
            "source_sha256": digest(content),
        }
        for place, (content, part) in enumerate(zip(contents, parts, strict=True))
    ]


def study(root: Path, contents: str, tested: list[str] = PARTS) -> FakeStudy:
    """A study of a dataset with these contents; its test has ``tested`` parts."""
    made = FakeStudy(root, probe={"synthetic": probe(protocols=("linear",))})
    made.finetune = {}
    for row in made.methods.values():
        row.__dict__["data"] = "synthetic"
    made.decoding("synthetic", videos=videos(contents, PARTS))
    folder = made.stage("select", "examples", 0.1, {"form": "probe", "test": "synthetic"})
    names = [f"v{place}" for place in range(len(contents))]
    targets = np.zeros(len(contents), np.int64)
    examples.write(Examples(names, targets, ["any"], {"1": tested}), {}, folder)
    made.stage("initialize", "encoders", 0.1, {"row": "scratch", "seed": "0"})
    for row in made.methods:
        made.pretraining(row, 6.0, 3.0, pretrain__short__split=1)
    return made


def test_videos_of_one_content_are_told(tmp_path, capsys):
    page = run(study(tmp_path / "study", "abcdab"), tmp_path / "out") / "report.html"
    text = " ".join(page.read_text().split())
    assert "<td>2 of 3</td><td>the pretraining of RSPNet, ρMoCo</td>" in text
    assert "<td>2 of 3</td><td>its own training part</td>" in text
    assert "synthetic, split 1: 2 of 3 videos, in its own training part" in capsys.readouterr().out


def test_nothing_in_common_is_said(tmp_path, capsys):
    page = run(study(tmp_path / "study", "abcdef"), tmp_path / "out") / "report.html"
    assert "No file that a test is tested on was pretrained on" in page.read_text()
    assert "seen before" not in capsys.readouterr().out


def test_a_test_without_parts_is_tested_on_all(tmp_path, capsys):
    run(study(tmp_path / "study", "abcdef", ["all"] * 6), tmp_path / "out")
    said = capsys.readouterr().out
    assert "3 of 6 videos, in the pretraining of RSPNet, ρMoCo" in said
    assert "own" not in said


def test_of_a_test_without_parts_copies_are_told(tmp_path, capsys):
    run(study(tmp_path / "study", "abcdab", ["all"] * 5 + [""]), tmp_path / "out")
    said = capsys.readouterr().out
    assert "synthetic, split 1: 1 of 4 videos, in its own other videos" in said
    assert "3 of 4 videos, in the pretraining of RSPNet, ρMoCo" in said
    assert "training part" not in said


def test_a_dataset_without_parts_is_pretrained_on_as_a_whole(tmp_path, capsys):
    made = study(tmp_path / "study", "abcdef")
    manifest = next(tmp_path.glob("study/decode/synthetic/*/manifest.json"))
    whole = json.loads(manifest.read_text())
    for video in whole["videos"]:
        video["splits"] = {"1": "all"}
    manifest.write_text(json.dumps(whole))
    run(made, tmp_path / "out")
    assert "3 of 3 videos, in the pretraining of RSPNet, ρMoCo" in capsys.readouterr().out


def test_each_split_has_parts_of_its_own(tmp_path, capsys):
    made = study(tmp_path / "study", "abcdab")
    made.probe = {"synthetic": probe(protocols=("linear",), splits=[1, 2])}
    folder = next(tmp_path.glob("study/select/probe/synthetic/*"))
    names = [f"v{place}" for place in range(6)]
    parts = {"1": PARTS, "2": ["test", "test", *["train"] * 4]}
    chosen = Examples(names, np.zeros(6, np.int64), ["any"], parts)
    examples.write(chosen, {}, folder)
    run(made, tmp_path / "out")
    said = capsys.readouterr().out
    assert "split 1: 2 of 3 videos, in its own training part" in said
    assert "split 2: 2 of 2 videos, in its own training part" in said


@pytest.mark.parametrize("split", [1, 2])
def test_the_split_of_the_pretraining_counts(tmp_path, split, capsys):
    made = study(tmp_path / "study", "abcdab")
    for row in made.methods:
        record = next(tmp_path.glob(f"study/pretrain/{row}/0/*/stage.json"))
        text = record.read_text()
        record.write_text(
            text.replace('"pretrain.short.split": 1', f'"pretrain.short.split": {split}')
        )
    run(made, tmp_path / "out")
    assert ("in the pretraining" in capsys.readouterr().out) == (split == 1)


def test_rows_of_other_datasets_are_apart(tmp_path, capsys):
    made = study(tmp_path / "study", "abcdef")
    made.datasets = ("synthetic", "other")
    made.decoding("other", videos=videos("dxx", ["train", "train", "test"]))
    made.methods["rspnet"].__dict__["data"] = "other"
    made.finetune = {"late": finetune()}
    run(made, tmp_path / "out")
    said = capsys.readouterr().out
    assert "1 of 3 videos, in the pretraining of RSPNet\n" in said
    assert "ρMoCo" not in said
