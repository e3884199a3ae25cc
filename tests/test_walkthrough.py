"""docs/walkthrough.md: its walk on a small tree in UCF101's layout, its estimate, its overlays."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support import engines
from support.movies import write_video
from support.study import ROOT, copy_study
from videossl import cli
from videossl.study import params

PAGE = (ROOT / "docs/walkthrough.md").read_text(encoding="utf-8")
WALK = PAGE.partition("# Your own folder of videos")[0]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OVERLAYS = {file: body for _, file, body in BLOCK.findall(PAGE) if file}
CLASSES = ("Archery", "Biking", "CliffDiving")
GROUPS = 9  # of each class, as UCF101 has them: two clips of each, a third of the groups tests
CLIP = {"frames": 4, "stride": 2, "size": 32}
# What makes the study of UCF101 one for a CPU and for three classes of six videos.
SMALL = {
    "decode": {"short_side": 32},
    "backbone": {"r3d18": {"blocks": [1, 1, 1, 1], "width": 4}},
    "optimizer": {
        name: {"warmup_epochs": 0} for name in ("sgd_rspnet", "sgd_rho_moco", "sgd_finetune")
    },
    "pretrain": {"long": {"clip": CLIP, "epochs": 1, "batch_size": 8, "precision": "float32"}},
    "methods": {"rspnet": {"queue": 16}, "rho_moco": {"queue": 16, "hidden": 16}},
    "finetune": {
        "ucf101": {
            "splits": [1, 3],
            "clip": CLIP,
            "epochs": 1,
            "batch_size": 8,
            "precision": "float32",
            "test": {"clips": 2, "topk": [1]},
        }
    },
    "probe": {
        "ucf101": {
            "splits": [1],
            "clip": CLIP,
            "features": {"clips": 2},
            "knn": {"neighbours": 5},
            "retrieval": {"topk": [1, 5]},
        }
    },
}


def build_tree(root: Path) -> None:
    """Videos and official lists: 54 short clips, three splits that test on other groups."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    numbered = {name: number for number, name in enumerate(CLASSES, 1)}
    (lists / "classInd.txt").write_text("".join(f"{k} {name}\n" for name, k in numbered.items()))
    videos = [
        (group, name, f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi")
        for name in CLASSES
        for group in range(1, GROUPS + 1)
        for clip in (1, 2)
    ]
    for group, _, path in videos:
        write_video(root / "UCF-101" / path, 30 + group)
    for split in (1, 2, 3):
        test = range(3 * split - 2, 3 * split + 1)
        texts = {
            "trainlist": [
                f"{path} {numbered[name]}\n" for g, name, path in videos if g not in test
            ],
            "testlist": [f"{path}\n" for g, _, path in videos if g in test],
        }
        for part, rows in texts.items():
            (lists / f"{part}0{split}.txt").write_text("".join(rows))


@pytest.mark.slow
def test_the_walk_as_it_stands(tmp_path, preloaded):
    root = tmp_path / "ucf101"
    build_tree(root)
    study = copy_study(tmp_path / "study")
    said: dict[str, list[str]] = {}
    for language, file, body in BLOCK.findall(WALK):
        if file:
            (study.root / file).write_text(body.replace("/datasets/ucf101", str(root)))
        elif language == "sh":
            for command in body.splitlines():
                with study.preloaded(preloaded):
                    done = study.run("bash", "-c", command)
                said.setdefault(command, []).append(done.stdout + done.stderr)
                if command == "videossl configure mine.yaml":
                    study.overlay(json.dumps(SMALL))

    assert "split 3: 36 train, 18 test" in said["videossl check ucf101"][0]
    assert "error" not in said["videossl check ucf101"][0]
    first, second = map(engines.would_run_snakemake, said["snakemake --cores all"])
    assert {"decode/ucf101", "initialize/scratch/seed-0", "pretrain/rho_moco/seed-0"} <= first
    assert {"pretrain/rspnet/seed-0", "finetune/rspnet/ucf101/seed-0/split-3"} <= second
    assert {name for name in second if "rspnet" not in name} == {"aggregate"}
    results = (study.root / "runs/report/results.md").read_text()
    rows = re.findall(r"^\| (\S+)", results.partition("## Published")[0], re.MULTILINE)
    assert rows == ["Row", "---", "scratch", "RSPNet", "ρMoCo"]
    (compared,) = said["videossl compare before runs/report"]
    assert "task.margin" in compared
    assert "rho_moco" not in compared.partition("numbers are equal")[0]


def test_the_estimate_is_what_the_page_prints(shipped, capsys):
    Path("mine.yaml").write_text(OVERLAYS["mine.yaml"].replace("/datasets", "/no/such/datasets"))
    for file in ("configs/ucf101.yaml", "mine.yaml"):
        assert cli.main(["configure", file]) == 0
    capsys.readouterr()
    assert cli.main(["doctor", "--study", "--clips-per-second", "500"]) == 0
    assert capsys.readouterr().out in PAGE


@pytest.mark.parametrize(("file", "below"), [("gpu.yaml", "configs/ucf101.yaml"), ("cpu.yaml", "")])
def test_an_overlay_for_a_folder_fits(shipped, tmp_path, file, below, capsys):
    for part, count in (("train", 70), ("test", 8)):
        for number in range(count):
            name = f"{'abcdef'[number % 6]}/{number}.avi"
            (tmp_path / "mine" / part / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / part / name).write_bytes(b"x")
    Path(file).write_text(OVERLAYS[file].replace("/datasets/mine", str(tmp_path / "mine")))
    for one in filter(None, (below, file)):
        assert cli.main(["configure", one]) == 0
    assert cli.main(["check"]) == 0
    capsys.readouterr()
    rows = params.read(Path("params.yaml"))["methods"]
    assert set(rows) == {"rspnet", "rho_moco"}
    assert {row["data"] for row in rows.values()} == {"mine"}
    cli.main(["check", "mine"])  # its files are no videos, which is told; what is asked of it fits
    said = capsys.readouterr()
    assert "split 1: 70 train, 8 test" in said.out
