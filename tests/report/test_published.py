"""Published figures: where they came from, and when they stand beside ours."""

from __future__ import annotations

import csv
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from support.fake_published import NETWORK, RECIPE, evaluated, study
from support.fake_study import FakeStudy, run
from videossl.downstream import examples
from videossl.downstream.examples import Examples
from videossl.report import published, text_tables
from videossl.report.inputs import Folder
from videossl.report.layout import Group, Row
from videossl.report.tables import Column
from videossl.study import schema


def beside(fake: FakeStudy, out: Path) -> tuple[list[list[str]], str]:
    """Lines of the table of published figures, from results.md; and the page."""
    run(fake, out)
    lines = (out / "results.md").read_text().replace("\\_", "_").splitlines()
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return [line for line in cells if len(line) == 6], (out / "report.html").read_text()


def test_the_file_is_valid_and_names_a_table_for_every_figure():
    text = (resources.files("videossl.report") / "published.csv").read_text()
    figures = published.parse(text)
    assert len(figures) == len(text.splitlines()) - 1
    assert len({tuple(vars(one).values()) for one in figures}) == len(figures)
    for line in csv.DictReader(text.splitlines()):
        assert line["source"].split(",")[0] in {"AAAI 2021", "CVPR 2021", "TPAMI 2021"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("method", "rspnet2"),
        ("value", "743"),
        ("protocol", "finetune"),
        ("pretraining_input", "16x112"),
        ("splits", "1-3"),
        ("source", "I remember it"),
        ("test", "imagenet"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(column, value):
    text = (resources.files("videossl.report") / "published.csv").read_text()
    first = next(csv.DictReader(text.splitlines()))
    head = ",".join(first)
    line = ",".join(f'"{cell}"' for cell in (first | {column: value}).values())
    with pytest.raises(ValueError, match=f"line 2: {column} = '{value}'"):
        published.parse(f"{head}\n{line}\n")
    with pytest.raises(ValueError, match="expected"):
        published.parse("method,value\n")
    published.parse(f"{head}\n" + ",".join(f'"{cell}"' for cell in first.values()))


def test_the_same_setting_stands_in_the_table_and_others_in_the_fold(tmp_path):
    fake = evaluated(study(tmp_path))
    lines, page = beside(fake, tmp_path / "out")
    # the split is stated of this one only
    ssv2 = [line for line in lines if line[5].startswith("AAAI") and line[2] == "44.02"]
    assert [line[4] for line in ssv2] == ["the same setting"]
    assert ">published 44.02</small>" in page
    assert page.count('class="published"') == 1
    ucf = next(line for line in lines if line[2] == "74.3")
    assert ucf[:4] == ["RSPNet", "Fine-tuned recognition top-1", "74.3", "70.0"]
    assert ucf[4] == "splits: not stated, ours 1"
    retrieval = next(line for line in lines if line[2] == "41.1")
    assert retrieval[4] == "epochs: not stated, ours 200"
    other = next(line for line in lines if line[2] == "76.7")
    assert other[4].startswith("backbone: c3d, ours r3d_rspnet 2-2-2-2; ")
    assert "<summary>Published figures</summary>" in page
    assert not [line for line in lines if "top-5" in line[1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": RECIPE | {"epochs": 100}}, "epochs: 200, ours 100"),
        ({"recipe": RECIPE | {"size": 64}}, "pretraining input: 16x1x112, ours 16x1x64"),
        (
            {"network": NETWORK | {"width": 32}},
            "backbone: r3d_rspnet 2-2-2-2, ours r3d_rspnet 2-2-2-2 width 32",
        ),
        ({"splits": [1, 2, 3]}, "splits: 1, ours 1,2,3"),
        ({"share": 0.1}, "labels: all, ours 10 %"),
        ({"validation": 0.2}, "labels: all, ours 100 %, 20 % of them to choose by"),
        (
            {"clip": schema.Clip.model_construct(frames=8, stride=1, size=112)},
            "test input: 16xcoverx112, ours 8xcoverx112",
        ),
    ],
)
def test_one_difference_takes_the_figure_out_of_the_table_and_is_named(tmp_path, change, said):
    lines, page = beside(evaluated(study(tmp_path, **change)), tmp_path / "out")
    (ssv2,) = [line for line in lines if line[2] == "44.02"]
    assert ssv2[4] == said
    assert 'class="published"' not in page


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"fps": 12.5}, "pretraining input: 16x1x112, ours 16x1x112 at 12.5 frames a second"),
        (
            {"short_side": 96},
            (
                "pretraining input: 16x1x112, ours 16x1x112 of frames of 96 pixels; "
                "test input: 16xcoverx112, ours 16xcoverx112 of frames of 96 pixels"
            ),
        ),
        ({"fps": "native", "short_side": 112}, "the same setting"),
    ],
)
def test_a_stride_is_of_the_files_frames_and_a_size_of_their_pixels(tmp_path, stored, said):
    fake = study(tmp_path)
    for path in (tmp_path / "study/decode").glob("*/*/stage.json"):
        record = json.loads(path.read_text())
        record["params"] |= {f"decode.{name}": value for name, value in stored.items()}
        path.write_text(json.dumps(record))
    lines, page = beside(evaluated(fake), tmp_path / "out")
    (ssv2,) = [line for line in lines if line[2] == "44.02"]
    assert ssv2[4] == said
    assert ('class="published"' in page) == (said == "the same setting")


@pytest.mark.parametrize(
    ("fps", "same"), [(30, True), (30.0, True), ("native", False), (25, False)]
)
def test_some_sources_play_every_file_at_one_rate(fps, same):
    played = [one for one in published.figures() if one.source.startswith("CVPR 2021,")]
    rates = {"kinetics400": {"decode.fps": fps}}
    clip = {"frames": "8", "stride": "8", "size": "224"}
    ours = dict.fromkeys(published.SETTING, "") | {"share": ""}
    ours["pretraining_input"] = published._clip(clip, rates["kinetics400"])
    said = [[*published._differences(one, ours)] for one in played]
    here = [one for one in played if one.pretraining_input == "8x8x224"]
    differs = [any(line.startswith("pretraining input") for line in one) for one in said]
    assert here
    assert differs.count(False) == (len(here) if same else 0)
    charades = next(one for one in played if one.test == "charades")
    assert published._theirs(charades, "test_input") == "16x8x224"
    cover = next(one for one in played if one.test == "ssv2")
    assert published._theirs(cover, "test_input") == "8xcoverx224"
    kinetics = next(one for one in played if one.test == "kinetics400")
    assert published._theirs(kinetics, "test_input") == "8x8x224 at 30 frames a second"


@pytest.mark.parametrize(
    ("dataset", "rejected", "absent", "said"),
    [
        ("k400", 3, 0, "videos: all, ours without 3 of 723 of k400"),
        ("ssv2", 0, 12, "videos: all, ours without 12 of 732 of ssv2"),
        ("ssv2", 2, 1, "videos: all, ours without 3 of 723 of ssv2"),
        ("ucf", 3, 3, "the same setting"),
    ],
)
def test_videos_that_are_not_there_are_a_difference(tmp_path, dataset, rejected, absent, said):
    fake = study(tmp_path)
    (file,) = (tmp_path / "study/decode" / dataset).glob("*/manifest.json")
    manifest = json.loads(file.read_text())
    manifest["rejects"] = [{"name": f"{n}.avi", "reason": "broken"} for n in range(rejected)]
    manifest["absent"] = absent
    file.write_text(json.dumps(manifest))
    lines, _ = beside(evaluated(fake), tmp_path / "out")
    (ssv2,) = [line for line in lines if line[2] == "44.02"]
    assert ssv2[4] == said


@pytest.mark.parametrize("detector", [True, False])
def test_a_tests_examples_say_whose_boxes_they_have(tmp_path, detector):
    fake = study(tmp_path)
    folder = fake.stage("select", "examples", 0.1, {"form": "finetune", "test": "ssv2"})
    facts = {"detector": detector}
    some = Examples(["v"], np.array([0]), ["a"] * 4, {"1": ["test"]}, facts=facts)
    examples.write(some, {}, folder)
    lines, _ = beside(evaluated(fake), tmp_path / "out")
    said = {line[2]: line[4] for line in lines}
    assert ("tested boxes" in said["44.02"]) == (not detector)
    assert "tested boxes" not in said["74.3"]  # of another test


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"detector": False}, "the true ones"), ({"detector": True}, ""), ({}, "")],
)
def test_true_boxes_in_place_of_a_detectors_are_a_difference(tmp_path, facts, said):
    (tmp_path / "examples.json").write_text(json.dumps({"classes": [], "facts": facts}))
    boxes = published._boxes(Folder(tmp_path, {}))
    assert boxes == said
    theirs = next(one for one in published.figures() if one.test == "ava")
    ours = {name: published._theirs(theirs, name) for name in published.SETTING} | {"boxes": boxes}
    found = [line for line in published._differences(theirs, ours) if line.startswith("tested")]
    assert found == (["tested boxes: a detector's, ours the true ones"] if said else [])


def test_another_training_part_of_the_pretraining_set_differs(tmp_path):
    fake = study(tmp_path)
    for path in (tmp_path / "study/pretrain").glob("*/*/*/stage.json"):
        record = json.loads(path.read_text())
        record["params"]["pretrain.long.split"] = 2
        path.write_text(json.dumps(record))
    lines, _ = beside(evaluated(fake), tmp_path / "out")
    (ssv2,) = [line for line in lines if line[2] == "44.02"]
    assert ssv2[4] == "pretraining data: kinetics400, ours kinetics400 split 2"


@pytest.mark.parametrize("weights", ["random", "torchvision"])
def test_a_baseline_stands_beside_networks_from_scratch_if_it_is_one(tmp_path, weights):
    network = NETWORK | {"name": "r3d", "blocks": [1, 1, 1, 1]}
    fake = study(tmp_path)
    fake.baselines, fake.weights = {"start": "shallow"}, weights
    leaves = {f"backbone__shallow__{name}": value for name, value in network.items()}
    leaves["baselines__start__weights"] = weights
    fake.stage("initialize", "encoders", 0.1, {"row": "start", "seed": "0"}, **leaves)
    fake.evaluation("start", "recognition", {"top1": 0.5, "top5": 0.9}, test="ucf")
    lines, _ = beside(evaluated(fake), tmp_path / "out")
    said = {line[2]: line[4] for line in lines if line[0] == "start"}
    assert said.get("54.5") == ("the same setting" if weights == "random" else None)


def test_kinetics_is_told_by_its_classes(tmp_path):
    fake = study(tmp_path)
    manifest = next((tmp_path / "study/decode/k400").glob("*/manifest.json"))
    manifest.write_text(manifest.read_text().replace('"class 399"', '"class 399", "class 400"'))
    lines, _ = beside(evaluated(fake), tmp_path / "out")
    (ssv2,) = [line for line in lines if line[2] == "44.02"]
    assert ssv2[4] == "pretraining data: kinetics400, ours kinetics401"


def test_the_rho_of_a_row_counts():
    params = {"backbone.s.name": "slow", "backbone.s.depth": 50, "backbone.s.width": 64}
    assert published.kind(params) == "slow 50"
    ours = published._setting(
        published.Row("rho_moco", "rho_moco", "s", None),
        params | {"task.rho_4": 4, "methods.rho_moco.data": "k400", "pretrain.rho.epochs": 200},
        {"k400": "kinetics400"},
        {},
    )
    assert ours["task"] == "4"
    theirs = next(one for one in published.figures() if one.task == "2")
    said = published._differences(theirs, ours | {"test_input": "", "splits": "1", "share": ""})
    assert said[0] == "ρ: 2, ours 4"


def test_a_line_below_the_row_says_what_was_published_of_its_setting_and_where(tmp_path):
    run(evaluated(study(tmp_path)), tmp_path / "out")
    text = (tmp_path / "out/results.md").read_text()
    ssv2 = text.partition("## ssv2\n")[2].partition("\n## ")[0].splitlines()
    at = next(n for n, line in enumerate(ssv2) if line.startswith("| RSPNet |"))
    assert ssv2[at].startswith("| RSPNet | 40.0 | 90.0 |")
    assert ssv2[at + 1] == "| RSPNet, published [1] | 44.02 | – |"
    (note,) = [line for line in ssv2 if line.startswith("[1] ")]
    assert note.startswith("[1] AAAI 2021, README of the authors' code (PeihaoChen/RSPNet), ")
    assert text.count("published [") == 1  # of other settings there is no line
    tex = (tmp_path / "out/results.tex").read_text()
    assert tex.count(r"\textit{RSPNet, published [1]} & \textit{44.02} & \textit{--} \\") == 1
    assert tex.count(r"\par{\footnotesize [1] AAAI 2021, README of") == 1
    assert tex.index(r"\textit{RSPNet, pub") < tex.index(r"\end{tabular}", tex.index("% ssv2"))


def test_sources_of_a_table_have_numbers_and_one_source_has_one():
    place = (("finetune", "t", "recognition"), "top1")
    lines = {
        "a": [published.Line("X", {place: "1.0"}), published.Line("Y", {place: "2.0"})],
        "b": [published.Line("X", {place: "3.0"})],
    }
    numbered = text_tables._Numbered(lines)
    group = Group("finetune", "t", "recognition", "d", "class", (1,))
    columns = [Column(group, "top1"), Column(group, "top5")]
    rows = [Row(name, "none", "small", None) for name in ("a", "c", "b")]
    assert [list(numbered.below(row, columns)) for row in rows] == [
        [("a, published [1]", ["1.0", "–"]), ("a, published [2]", ["2.0", "–"])],
        [],
        [("b, published [1]", ["3.0", "–"])],
    ]
    assert [note[:5] for note in numbered.notes] == ["[1] X", "[2] Y"]


def test_every_figure_is_in_a_file_of_its_own(tmp_path, finished):
    run(evaluated(study(tmp_path)), tmp_path / "out")
    with (tmp_path / "out/published.csv").open() as file:
        found = list(csv.DictReader(file))
    (same,) = [line for line in found if not line["differs"]]
    assert (same["row"], same["test"], same["metric"]) == ("rspnet", "ssv2", "top1")
    assert (same["ours"], same["published"]) == ("40.0", "44.02")
    assert {"splits: not stated, ours 1"} < {line["differs"] for line in found}
    assert (finished / "published.csv").read_text().splitlines() == [",".join(published.COLUMNS)]


def test_the_built_in_dataset_has_no_published_figure(finished):
    page = (finished / "report.html").read_text()
    assert "Published figures" not in page
    assert 'class="published"' not in page
    assert "Published" not in (finished / "results.md").read_text()


def test_results_csv_is_ours_alone(tmp_path):
    run(evaluated(study(tmp_path)), tmp_path / "out")
    assert "44.02" not in (tmp_path / "out/results.csv").read_text()
