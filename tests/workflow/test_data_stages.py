"""Datasets on disk through the engines: kills, growth, motion, and the verbs that look at data."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.study import Study
from videossl import cli
from videossl.study import graph
from videossl.study.stages import instance

KILLS = 20
FOLDER = """
data:
  toy:
    format: folder
    root: toy
    missing: 0.0
    revision: 1
"""


def digests(folder: Path) -> dict[str, str]:
    """Of all files but the record of the run, which holds seconds, and Snakemake's mark."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name not in ("stage.json", "contents.json", ".snakemake_timestamp")
    }


@pytest.fixture
def prepared(study: Study) -> Study:
    """A study whose built-in videos are written and fill many shards."""
    study.shrink()
    study.overlay("decode:\n  codec: raw\n  shard_megabytes: 1\n")
    study.overlay("data:\n  synthetic:\n    videos_per_class: 10\n    frames: 64\n")
    study.run("videossl", "prepare", "synthetic", "--out", "made")
    return study


@pytest.mark.slow
def test_decode_killed_at_twenty_random_moments_gives_the_same_bytes(prepared):
    def command(out: str) -> list[str]:
        return ["videossl", "decode", "synthetic", "--videos", "made", "--out", out]

    begin = time.monotonic()
    prepared.run(*command("whole"))
    seconds = time.monotonic() - begin
    expected = digests(prepared.root / "whole")
    assert len(expected) > 20
    rng = random.Random(0)
    kills = resumed = 0
    fresh = True
    while kills < KILLS or (resumed < 3 and kills < 5 * KILLS):
        begin = time.monotonic()
        log = prepared.root / "log"
        with (
            log.open("w") as heard,
            subprocess.Popen(
                command("cut"),
                cwd=prepared.root,
                env=prepared.env,
                stderr=heard,
                start_new_session=True,
            ) as run,
        ):
            try:
                run.wait(rng.uniform(0.4, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                kills += 1
        assert run.returncode in (0, -signal.SIGKILL)
        resumed += "before the interruption" in log.read_text()
        finished = (prepared.root / "cut").exists()  # also killed just after its last step
        assert finished or run.returncode != 0
        if finished:
            if fresh:  # the machine has become faster: else hardly any run would be killed
                seconds = min(seconds, time.monotonic() - begin)
            assert digests(prepared.root / "cut") == expected
            shutil.rmtree(prepared.root / "cut")
        fresh = finished
    prepared.run(*command("cut"))
    assert digests(prepared.root / "cut") == expected
    assert resumed >= 3


@pytest.fixture
def toy(study: Study) -> Study:
    """A study with a dataset on disk, of the built-in one's videos, and a row that needs motion."""
    study.shrink(("rspnet", "sts"))
    study.run("videossl", "prepare", "synthetic", "--out", "made")
    videos = sorted((study.root / "made" / "UCF-101").glob("*/*"))
    for number, video in enumerate(videos[:24]):
        add(study.root, video, ("train", "test")[number % 2])
    study.overlay(FOLDER)
    return study


def add(root: Path, video: Path, part: str) -> None:
    target = root / "toy" / part / video.parent.name / video.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(video, target)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["snakemake", "dvc"])
def test_a_dataset_that_grows_keeps_its_shards(toy, engine):
    command = {
        "snakemake": ("snakemake", "--cores", "2", "--until", "decode"),
        "dvc": ("dvc", "repro", "decode@toy"),
    }[engine]
    root = toy.root / {"snakemake": "runs/decode/toy", "dvc": "results/decode/toy"}[engine]

    def manifest() -> dict:
        outputs = [root] if engine == "dvc" else sorted(root.iterdir(), key=os.path.getmtime)
        return json.loads((outputs[-1] / "manifest.json").read_text())

    toy.commit("grows")
    toy.run(*command)
    before = manifest()
    assert len(before["videos"]) == 24
    more = sorted((toy.root / "made" / "UCF-101" / "Shrink").glob("*"))
    for video in more:
        add(toy.root, video, "train")
    toy.overlay(FOLDER.replace("revision: 1", "revision: 2"))
    toy.run(*command)
    after = manifest()
    assert after["shards"][: len(before["shards"])] == before["shards"]
    assert len(after["shards"]) == len(before["shards"]) + 1
    new = {video["name"] for video in after["videos"]} - {v["name"] for v in before["videos"]}
    assert new == {f"train/Shrink/{video.name}" for video in more}
    assert {v["shard"] for v in after["videos"] if v["name"] in new} == {len(before["shards"])}


@pytest.mark.slow
def test_motion_runs_in_both_engines_and_agrees(toy):
    toy.run("snakemake", "--cores", "2", "--until", "motion")
    toy.run("dvc", "repro", "motion@flow")
    (made,) = (toy.root / "runs/motion/flow").iterdir()
    assert digests(made) == digests(toy.root / "results/motion/flow")
    said = toy.run("videossl", "shards", "verify", str(made)).stdout
    assert "72 videos" in said


def test_the_verbs_that_look_at_data(shipped, capsys):
    def verb(*words: str, code: int = 0) -> tuple[str, str]:
        assert cli.main(list(words)) == code
        return tuple(capsys.readouterr())

    verb("configure", "configs/tiny.yaml")
    verb("prepare", "synthetic", "--out", "made")
    for number, video in enumerate(sorted((shipped / "made" / "UCF-101").glob("*/*"))[:24]):
        add(shipped, video, ("train", "test")[number % 2])
    Path("overlay.yaml").write_text(FOLDER)
    verb("configure", "overlay.yaml")

    said, _ = verb("check", "toy")
    assert "toy: format folder, labels action (class), root toy" in said
    assert "split 1: 12 train, 12 test" in said
    listed = Path("runs") / graph.load().path(instance("prepare", "toy"))
    verb("prepare", "toy", "--out", str(listed))
    verb("check", "toy")
    index = listed / "index.json"
    index.write_text(index.read_text().replace("video", "Video", 1))
    _, error = verb("check", "toy", code=cli.EXIT_USER)
    assert error.count("\n") == 1
    assert f"{index}: damaged (other bytes than were written)" in error
    _, error = verb("check", "nothing", code=cli.EXIT_USER)
    assert "data.nothing: not in params.yaml; it has: synthetic, toy" in error
    shutil.rmtree("toy/test")
    _, error = verb("check", "toy", code=cli.EXIT_USER)
    assert error.count("\n") == 1
    assert "test" in error

    said, _ = verb("doctor")
    assert "not measured: decode/synthetic is not there yet (videossl decode synthetic)" in said

    verb("decode", "synthetic", "--videos", "made", "--out", "stored")
    name = json.loads(Path("stored/manifest.json").read_text())["videos"][0]["name"]
    verb("shards", "show", "stored", name, "--out", "sheet.png")
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")
    said, _ = verb("shards", "list", "stored")
    assert len(said.splitlines()) == 72
    (shard,) = Path("stored").glob("*.lmdb")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    _, error = verb("shards", "verify", "stored", code=cli.EXIT_USER)
    assert "SHA-256 is not the manifest's" in error
