"""Overlays of published runs: studies that ``check`` passes on trees in official layouts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from support.official import TREES
from support.study import ROOT
from videossl import uses
from videossl.data.datasets import check
from videossl.study import overlay, params
from videossl.study.graph import Graph
from videossl.study.registry import METHODS
from videossl.study.schema import Params

# recipe -> its rows: pretrained ones, then baselines, and how many stages of each kind it plans
RECIPES: dict[str, tuple[int, int, dict[str, int]]] = {
    "rspnet_c3d": (1, 1, {"decode": 4, "finetune": 14, "evaluate": 2}),
    "rspnet_r3d18": (1, 1, {"decode": 4, "finetune": 14, "evaluate": 2}),
    "rspnet_r2plus1d": (1, 1, {"decode": 3, "finetune": 12}),
    "rspnet_s3dg": (2, 1, {"decode": 4, "finetune": 21}),
    "rho_k400": (12, 1, {"decode": 6, "finetune": 65, "evaluate": 13}),
    "vtdl": (4, 2, {"decode": 2, "finetune": 12, "evaluate": 12}),
    "sts": (4, 4, {"decode": 3, "motion": 2, "finetune": 32, "evaluate": 16}),
    "hdc": (3, 3, {"decode": 3, "finetune": 36, "evaluate": 6}),
    "v3s": (3, 3, {"decode": 2, "finetune": 36, "evaluate": 12}),
    "modist": (1, 1, {"decode": 4, "motion": 1, "finetune": 6, "evaluate": 4}),
    "order_geometry": (2, 1, {"decode": 1}),
}
TRAIN, TEST = 520, 60  # videos: a batch of the ρ methods, and a gallery of 50
SOURCE = re.compile(
    r"\b(paper|code|README|issue|supplement|abstract|successors|derived|ours|assumed|official)\b"
)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    for form, make in TREES.items():
        make(root / form, TRAIN, TEST)
    return root


def study(name: str) -> tuple[Params, params.Raw]:
    raw = params.read(ROOT / "params.yaml")
    overlay.merge(raw, params.read(ROOT / f"configs/{name}.yaml"))
    return params.validate(raw, name), raw


@pytest.mark.parametrize("name", list(RECIPES))
def test_check_passes_and_plans_what_is_published(name: str, trees: Path) -> None:
    recipe, raw = study(name)
    pretrained, baselines, stages = RECIPES[name]
    for dataset, block in recipe.data.items():
        assert block.format != "synthetic"
        there = block.model_copy(update={"root": str(trees / block.format)})
        index = check.read(there)
        assert (len(index.entries), index.odd, index.absent) == (TRAIN + TEST, [], [])
        assert uses.problems(recipe, dataset, index) == []
    planned = Counter(node.stage for node in Graph(recipe, raw).instances)
    print(name, dict(planned))
    assert planned["pretrain"] == pretrained
    assert planned["initialize"] == baselines
    assert {stage: planned[stage] for stage in stages} == stages


def sourced(text: str) -> list[str]:
    """The lines with a value that neither they nor a block around them has a source for."""
    blocks: list[tuple[int, bool]] = []  # indentation, whether a source is given
    without, after_value = [], False
    for line in text.splitlines():
        body, _, comment = line.partition("#")
        if not body.strip():  # the comment of the line before goes on
            if after_value and SOURCE.search(comment):
                indent, _ = blocks.pop()
                blocks.append((indent, True))
            continue
        after_value = True
        indent = len(body) - len(body.lstrip())
        if body.lstrip().startswith("- "):  # an item of the list above
            continue
        while blocks and blocks[-1][0] >= indent:
            blocks.pop()
        given = bool(SOURCE.search(comment)) or any(source for _, source in blocks)
        blocks.append((indent, given))
        value = body.partition(":")[2].strip()
        if re.fullmatch(r"[\d.e+-]+", value) and not given:
            without.append(body.strip())
    return without


OF_THE_COPY = {"revision: 1", "missing: 0.0"}  # facts about the user's files, not about the paper


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_number_has_a_source(name: str) -> None:
    text = (ROOT / f"configs/{name}.yaml").read_text(encoding="utf-8")
    assert set(sourced(text)) <= OF_THE_COPY


def test_a_number_without_a_source_is_found() -> None:
    text = "a:\n  lr: 0.1\nb:  # code: x\n  lr: 0.2\nc:  # it\n     # is assumed\n  lr: 0.3\nd: 4\n"
    assert sourced(text) == ["lr: 0.1", "d: 4"]


@pytest.mark.parametrize(
    ("name", "backbone", "mean"),
    [
        ("rspnet_s3dg", "s3dg", 0.485),
        ("order_geometry", "seresnext50", 0.485),
        ("rho_k400", "slow_r50", 0.45),
    ],
)
def test_networks_have_the_colours_of_their_code(name: str, backbone: str, mean: float) -> None:
    assert study(name)[0].backbone[backbone].mean[0] == mean


@pytest.mark.parametrize(("name", "splits"), [("lips", [1]), ("ultrasound", [1, 2, 3, 4, 5])])
def test_studies_of_real_video_test_every_row(name: str, splits: list[int]) -> None:
    own, raw = study(name)
    assert list(own.data) == list(own.probe) == list(own.finetune) == [name]
    planned = Counter(node.stage for node in Graph(own, raw).instances)
    rows = len(METHODS) + 1
    assert planned["pretrain"] + planned["initialize"] == rows
    assert planned["test"] == rows * len(splits)
