"""``check`` of a dataset says what rows and tests ask of it in vain, before anything is decoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.movies import write_video
from support.study import ROOT
from support.trees import plant
from videossl import cli, uses
from videossl.data.datasets import check, folder, prepare
from videossl.study import overlay, params, records
from videossl.study.schema import Params

FILES = {"train": ["a/1.mp4", "a/2.mp4", "b/3.mp4"], "test": ["a/4.mp4", "b/5.mp4"]}


def study(root: Path, form: str = "folder", **changes: Any) -> Params:
    """The tiny study, of few rows, with the dataset ``mine`` in place of the built-in one."""
    raw: dict[str, Any] = params.read(ROOT / "params.yaml")
    overlay.merge(raw, params.read(ROOT / "configs/tiny.yaml"))
    for method in [name for name in raw["methods"] if name not in ("rspnet", "rho_moco")]:
        del raw["methods"][method]
    raw["data"]["mine"] = {"format": form, "root": str(root), "missing": 0.0, "revision": 1}
    few = {"batch_size": 3, "monitor_epochs": 1}
    both = {"finetune": {"synthetic": {"data": "mine"}}, "probe": {"synthetic": {"data": "mine"}}}
    overlay.merge(
        raw, {"pretrain": {"short": few}, "methods": {"rspnet": {"data": "mine"}}, **both}
    )
    topk = {"retrieval": {"topk": [1, 3]}}
    small = {"test": {"topk": [1, 2]}}
    overlay.merge(raw, {"probe": {"synthetic": topk}, "finetune": {"synthetic": small}})
    overlay.merge(raw, changes)
    return params.validate(raw, "test")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path, {f"{part}/{f}": "x" for part, files in FILES.items() for f in files})


def problems(study: Params) -> list[str]:
    data = study.data["mine"]
    assert data.format != "synthetic"
    return uses.problems(study, "mine", check.read(data))


def test_a_study_that_fits_has_no_problem(tree: Path) -> None:
    assert problems(study(tree)) == []


THERE = "there are: 1 test (2), 1 train (3)"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"pretrain": {"short": {"split": 2}}},
            "methods.rspnet: pretrain.short.split = 2: no training video in split 2 of data.mine; "
            + THERE,
        ),
        (
            {"pretrain": {"short": {"batch_size": 4}}},
            (
                "methods.rspnet: pretrain.short.batch_size = 4: data.mine has only 3 training "
                "videos in split 1"
            ),
        ),
        (
            {"finetune": {"synthetic": {"splits": [1, 2]}}},
            f"finetune.synthetic.splits: no video of data.mine in split 2 train; {THERE}",
        ),
        (
            {"probe": {"synthetic": {"splits": [3]}}},
            f"probe.synthetic.splits: no video of data.mine in split 3 train; {THERE}",
        ),
        (
            {"probe": {"synthetic": {"retrieval": {"topk": [1, 4]}}}},
            (
                "probe.synthetic.retrieval.topk = [1, 4]: must be at most the 3 training videos "
                "of split 1"
            ),
        ),
        (
            {"finetune": {"synthetic": {"test": {"topk": [3]}}}},
            "finetune.synthetic.test.topk = [3]: must be at most the 2 classes",
        ),
    ],
)
def test_what_a_stage_would_refuse_is_said(tree: Path, changes: dict[str, Any], line: str) -> None:
    assert problems(study(tree, **changes)) == [line]


def test_other_datasets_are_not_asked(tree: Path) -> None:
    wrong = {"pretrain": {"short": {"split": 2}}, "methods": {"rspnet": {"data": "synthetic"}}}
    assert problems(study(tree, **wrong)) == []


def test_one_class_has_no_linear_probe(tmp_path: Path) -> None:
    plant(
        tmp_path, {f"{part}/a/{part}{n}.mp4": "x" for part in ("train", "test") for n in range(3)}
    )
    lines = problems(study(tmp_path, finetune={"synthetic": {"test": {"topk": [1]}}}))
    assert lines == ["probe.synthetic.linear: split 1 trains on fewer than two classes"]


def test_videos_without_parts_pretrain_as_a_whole(tmp_path: Path) -> None:
    plant(tmp_path, {f"{name}/{n}.avi": "x" for name in "ab" for n in range(2)})
    tests: Any = {"finetune": {"synthetic": None}, "probe": {"synthetic": None}}
    two = {"pretrain": {"short": {"split": 2, "batch_size": 4}}, **tests}
    assert problems(study(tmp_path, "yupenn", **two)) == []
    two["pretrain"]["short"]["batch_size"] = 8
    assert ["has only 4" in line for line in problems(study(tmp_path, "yupenn", **two))] == [True]


def test_empty_files_alone_are_a_problem(tree: Path) -> None:
    for path in tree.rglob("*.mp4"):
        path.write_bytes(b"")
    assert problems(study(tree)) == ["data.mine: none of 5 videos can be stored"]


def test_headers_say_who_needs_longer_videos(tree: Path) -> None:
    for count, name in enumerate(FILES["train"][:2]):
        write_video(tree / "train" / name, frames=10 + count)
    short = study(tree)  # two speeds of 4 frames with stride 2 reach over 13
    data = short.data["mine"]
    assert data.format != "synthetic"
    lines = uses.lengths(short, "mine", check.read(data))
    assert lines[0].startswith("cannot be stored: 3 of 5 tried; first: test/a/4.mp4: InvalidData")
    assert lines[1:] == [
        "frames of 2 videos by their headers: 10 to 11",
        "  methods.rspnet needs 13 frames of a video, for speeds",
    ]
    slow = study(tree, decode={"fps": 5.0, "min_frames": 8})
    assert uses.lengths(slow, "mine", check.read(data))[2] == (
        "  decode.min_frames = 8 is more: all would be rejected"
    )


def test_headers_say_which_films_end_before_their_annotations(tree: Path) -> None:
    first, second = (f"train/{name}" for name in FILES["train"][:2])
    for name in (first, second):
        write_video(tree / name, frames=90)  # three seconds
    data = study(tree).data["mine"]
    assert data.format != "synthetic"
    listed = check.read(data)
    entries = [one for one in listed.entries if one.name in (first, second)]

    def lines(*spans: tuple[float, float] | None) -> list[str]:
        cut = [replace(one, span=span) for one, span in zip(entries, spans, strict=True)]
        return uses.lengths(study(tree), "mine", replace(listed, entries=cut))

    assert lines((1.0, 2.0), None)[0] == "frames of 2 videos by their headers: 30 to 90"
    short = lines((1.0, 9.0), (4.0, 9.0))
    assert short[0].startswith(f"cannot be stored: 1 of 2 tried; first: {entries[1].name}: it ends")
    assert short[0].endswith("after 3.0 s by its header; its annotations are of seconds 4 to 9")
    assert short[1] == (
        f"end within their annotations: 1 of 2; first: {entries[0].name}: after 3.0 s, "
        "where 9 are expected"
    )
    assert short[2] == "frames of 1 videos by their headers: 60 to 60"


def test_the_verb_shows_the_dataset_and_ends_with_the_problems(
    tree: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What has changed since `prepare` too, where either engine has run it."""
    text = (ROOT / "params.yaml").read_text()
    block = f"  mine: {{format: folder, root: {tree}, missing: 0.0, revision: 1}}\n"
    text = text.replace("data:\n", f"data:\n{block}", 1)
    asked = "    data: synthetic           # an entry of data; labels"
    text = text.replace(asked, "    data: mine #", 1)
    monkeypatch.chdir(tmp_path_factory.mktemp("study"))
    Path("params.yaml").write_text(text)
    earlier = Path("results/prepare/mine")
    earlier.mkdir(parents=True)
    prepare.write(folder.read(tree), tree, earlier)
    made = {"stage": "prepare", "key": {"dataset": "mine"}, "fingerprint": "0", "params": {}}
    records.write({**made, "files": records.digests(earlier)}, earlier)
    (tree / "train/a/new.mp4").touch()
    assert cli.main(["check", "mine"]) == cli.EXIT_USER
    shown = capsys.readouterr()
    assert "split 1: 4 train, 2 test\n" in shown.out
    assert "added since prepare: 1; first: train/a/new.mp4\n" in shown.out
    assert shown.err == (
        "error: methods.rspnet: pretrain.short.batch_size = 16: data.mine has only 4 training "
        "videos in split 1\n"
    )
