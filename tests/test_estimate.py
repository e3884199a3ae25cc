"""``doctor --study``: clips, hours and disk, by hand for one recipe and one small tree."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from support.movies import write_video
from support.study import ROOT
from support.trees import plant
from videossl import cli, estimate
from videossl.study import overlay, params
from videossl.study.schema import Params


def study(*names: str) -> Params:
    raw = params.read(ROOT / "params.yaml")
    for name in names:
        overlay.merge(raw, params.read(ROOT / f"configs/{name}.yaml"))
    return params.validate(raw, "test")


def test_rspnet_on_kinetics_by_hand() -> None:
    recipe = study("rspnet_s3dg")
    sizes = {name: estimate.size_of(recipe, name) for name in recipe.data}
    found = {work.name: work for work in estimate.work(recipe, sizes)}
    pretraining = found["methods.rspnet"]
    # 200 epochs of the 937 whole batches of 256 videos, three clips of each
    assert pretraining.trained == 200 * 937 * 256 * 3
    assert pretraining.hours(500) == pytest.approx(200 * 937 * 256 * 3 / 500 / 3600)
    assert found["methods.rspnet_1000"].trained == 5 * pretraining.trained
    finetuning = found[
        "finetune.ucf101"
    ]  # three rows and splits, 64 frames where 16 are trained on
    assert finetuning.pixels == 4
    assert (finetuning.trained, finetuning.seen) == (9 * 50 * 9_537, 9 * 3_783 * 10)
    assert finetuning.hours(1) == pytest.approx(4 * (9 * 50 * 9_537 + 9 * 3_783 * 10 / 3) / 3600)


def test_disk_is_what_the_format_was_measured_at() -> None:
    """docs/performance.md: Kinetics-400, every frame, quality 90: 537 GB at 128 pixels."""
    recipe = study("rspnet_c3d")
    size = estimate.size_of(recipe, "kinetics400")
    assert size is not None
    assert estimate.gigabytes(recipe.decode, size) == pytest.approx(537, rel=0.1)
    larger = recipe.decode.model_copy(update={"short_side": 256})
    assert estimate.gigabytes(larger, size) == pytest.approx(1390, rel=0.1)
    sampled = recipe.decode.model_copy(update={"fps": 14.0})
    assert estimate.gigabytes(sampled, size) == pytest.approx(537 / 2, rel=0.1)
    raw = recipe.decode.model_copy(update={"codec": "raw"})
    assert estimate.gigabytes(raw, size) == pytest.approx(4600, rel=0.1)


def test_a_dataset_that_is_there_is_counted(tmp_path: Path) -> None:
    plant(tmp_path, {"val/a/1.mp4": "no video"}, ["train/b/empty.mp4"])
    for number in range(3):
        write_video(tmp_path / f"train/{'abb'[number]}/{number}.mp4", 20 + 5 * number)
    recipe = study("hdc")
    block = {"format": "folder", "root": str(tmp_path), "missing": 0.0, "revision": 1}
    there = type(recipe.data["ucf101"]).model_validate(block)
    recipe = recipe.model_copy(update={"data": {**recipe.data, "ucf101": there}})
    size = estimate.size_of(recipe, "ucf101")
    assert size is not None
    assert (size.videos, size.counts["1", "train"], size.frames) == (5, 4, 25)
    assert size.origin == "listed; 3 headers read"


TABLE = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
COSTS = re.findall(
    r"^\| `(\w+)` \|.*\| ([\d x]+) \| ([\d.,]+) \| ([\d,]+) \| ([\d,]+) \|$", TABLE, re.M
)


@pytest.mark.parametrize(("name", "shape", "millions", "hours", "disk"), COSTS)
def test_the_table_of_recipes_is_what_is_computed(
    name: str, shape: str, millions: str, hours: str, disk: str
) -> None:
    lines = list(estimate.report(study(name), 500.0))
    counts = (re.search(r"([\d,]+) trained on", line) for line in lines)
    trained = sum(int(count[1].replace(",", "")) for count in counts if count) / 1e6
    assert f"clips, and hours of one GPU at 500 clips/s of {shape} x {shape.split()[-1]}:" in lines
    assert (f"{trained:,.1f}", lines[-1]) == (millions, f"all: {hours} GPU hours")
    assert f"disk: about {disk} GB" in lines


def test_the_table_has_every_recipe() -> None:
    published = {path.stem for path in (ROOT / "configs").glob("*.yaml")} - {
        *("tiny", "table", "larger", "ucf101", "hmdb51", "kinetics400"),
        *("transfer", "lips", "ultrasound"),
    }
    assert {name for name, *_ in COSTS} == published - {"order_geometry"}  # of no official size


def test_crops_are_views() -> None:
    recipe = study("modist")
    sizes = {name: estimate.size_of(recipe, name) for name in recipe.data}
    (found,) = (w for w in estimate.work(recipe, sizes) if w.name == "finetune.ucf101")
    assert found.seen == 2 * 3_783 * 10 * 3


def test_moments_of_videos_count() -> None:
    recipe = study("tiny", "transfer")
    sizes = {name: estimate.size_of(recipe, name) for name in recipe.data}
    found = {work.name: work for work in estimate.work(recipe, sizes)}
    rows = len(recipe.methods) + 1
    each = 1  # 32 frames at 25 a second
    assert found["finetune.boxes"].seen == rows * 24 * each
    longer = recipe.data["synthetic"].model_copy(update={"frames": 100})
    recipe = recipe.model_copy(update={"data": {"synthetic": longer}})
    sizes = {"synthetic": estimate.size_of(recipe, "synthetic")}
    found = {work.name: work for work in estimate.work(recipe, sizes)}
    assert found["finetune.gaze"].seen == rows * 24 * 4
    test = recipe.finetune["gaze"]
    assert found["finetune.gaze"].trained == rows * test.epochs * math.ceil(test.share * 48 * 4)
    assert found["finetune.synthetic"].seen == rows * 24 * 2  # whole videos, two clips of each


def test_moments_of_a_dataset_on_disk(tmp_path: Path) -> None:
    texts = {
        "splits.csv": "video,split\na.mp4,train\nb.mp4,test\n",
        "frames.csv": "video,frame,class\na.mp4,1,x\na.mp4,2,y\nb.mp4,0,x\n",
    }
    plant(tmp_path, texts)
    plant(tmp_path / "videos", {}, ["a.mp4", "b.mp4"])
    block = {"format": "frame_classes", "root": str(tmp_path), "missing": 0.0, "revision": 1}
    raw = params.read(ROOT / "params.yaml")
    raw["data"]["scans"] = block
    size = estimate.size_of(params.validate(raw, "test"), "scans")
    assert size is not None
    assert size.moments == {"frame_class": {("1", "train"): 2, ("1", "test"): 1}}
    assert (size.examples("frame_class"), size.examples("class")) == (3, 2)


def test_what_nobody_knows_is_said() -> None:
    lines = list(estimate.report(study("order_geometry"), 100.0))
    assert "data.ultrasound: not there, and its official size is not known here" in lines
    assert "  methods.order_geometry: data.ultrasound is not there" in lines


def test_every_method_and_the_built_in_study() -> None:
    lines = list(estimate.report(study("tiny"), None))
    assert sum(line.startswith("  methods.") for line in lines) == 11
    assert lines[0].startswith("data.synthetic: 72 videos of about 32 frames")
    # two epochs of six batches of eight, three clips each
    assert "  methods.rspnet: 288 trained on, 0 seen" in lines


def test_the_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["doctor", "--study", "--clips-per-second", "100"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("all: ")
    assert cli.main(["doctor", "--study", "--clips-per-second", "0"]) == cli.EXIT_USER
    assert cli.main(["doctor", "--clips-per-second", "9"]) == cli.EXIT_USER
    assert capsys.readouterr().err.count("must be above 0") == 2
