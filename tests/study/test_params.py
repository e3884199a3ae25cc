"""params.yaml: every fault is one line that names key, value and what is allowed."""

from __future__ import annotations

import ast
import copy
from typing import Any, get_args

import pytest

from support.study import ROOT
from videossl.job import UserError
from videossl.study import params, registry, schema

RAW = params.read(ROOT / "params.yaml")
MOTION = {
    "algorithm": "dis",
    "content": "flow",
    "step": 1,
    "bound": 20.0,
    "codec": "jpeg",
    "quality": 95,
    "shard_megabytes": 1,
}


def put(key: str, value: Any) -> dict[str, Any]:
    """A copy of params.yaml with another value, or a further key."""
    raw: dict[str, Any] = copy.deepcopy(RAW)
    *parents, last = key.split(".")
    section = raw
    for parent in parents:
        section = section[parent]
    section[last] = value
    return raw


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("task.margin", -1, "task.margin = -1: must be greater than or equal to 0"),
        ("task.margin", "high", "task.margin = 'high': must be a valid number"),
        ("task.marginn", 1, "task.marginn: no such key; allowed here: margin, rho"),
        ("seed", True, "seed = True: must be a valid integer"),
        ("split", 4, "split = 4: must be less than or equal to 3"),
        (
            "methods.byol",
            {"task": "rho"},
            "methods.byol: no such key; allowed here: rspnet, vtdl, rho_moco",
        ),
        ("methods.rspnet", None, "methods.rspnet: has no value; give one or remove the key"),
        ("methods.rspnet.task", "rho", "methods.rspnet.task = 'rho': must be 'margin'"),
        (
            "methods.rspnet.speeds",
            [1, 99],
            "methods.rspnet.speeds = [1, 99]: needs 2773 frames, more than every video has",
        ),
        ("methods.rspnet.speeds", [2, 2], "speeds = [2, 2]: must differ from one another"),
        ("methods.rho_moco.queue", 4, "methods.rho_moco.queue = 4: must hold at least one batch"),
        ("clip.stride", 64, "clip.stride = 64: 8 frames then span 449, longer than every video"),
        ("pretrain.dataset", "k400", "pretrain.dataset = 'k400': must be an entry of data: synth"),
        ("pretrain.augment.crop_area", [1.0, 0.5], "crop_area = [1.0, 0.5]: must be [low, high]"),
        ("data.synthetic.framez", 3, "data.synthetic.framez: no such key; allowed here: format"),
        ("data.synthetic.frames", "a", "data.synthetic.frames = 'a': must be a valid integer"),
        ("data.ucf", {"format": "avi", "root": "x"}, "data.ucf.format = 'avi': must be 'synth"),
        (
            "data.ucf",
            {"format": "ucf101", "missing": 0.0, "revision": 1},
            "data.ucf.root: missing",
        ),
        ("evaluate.datasets", ["x"], "evaluate.datasets = ['x']: 'x' must be an entry of data: sy"),
        ("evaluate.datasets", ["synthetic"] * 2, "must differ from one another"),
        ("motion.none", MOTION, "motion.none: the name is taken"),
        (
            "motion.far",
            {**MOTION, "step": 8},
            "motion.far.step = 8: must be less than decode.min_frames = 8",
        ),
        ("baselines.rspnet", {"weights": "random"}, "baselines.rspnet: also an entry of methods"),
        ("report.baseline", "none", "report.baseline = 'none': must be a row: scratch, rspnet"),
    ],
)
def test_a_fault_is_one_line(key, value, line):
    with pytest.raises(UserError) as caught:
        params.validate(put(key, value), "params.yaml")
    text = str(caught.value)
    assert text.startswith("params.yaml: ")
    assert line in text
    assert "\n" not in text


def test_a_missing_key_is_named():
    raw = copy.deepcopy(RAW)
    del raw["finetune"]["optimizer"]["lr"]
    with pytest.raises(UserError, match=r"^params.yaml: finetune.optimizer.lr: missing$"):
        params.validate(raw, "params.yaml")


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.yaml: not found"):
        params.load(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\nb: 2")
    with pytest.raises(UserError, match=r"bad\.yaml: not valid YAML"):
        params.load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="expected a mapping of sections, found list"):
        params.load(tmp_path / "list.yaml")


def test_typing_changes_no_value():
    """What a stage sees is what stood in the file, so schema/ need not count as its code."""
    assert params.leaves(params.dump(params.load(ROOT / "params.yaml"))) == params.leaves(RAW)


def test_schema_holds_fields_and_checks_only():
    """Nothing in schema/ computes: see code.ENGINE."""
    files = (ROOT / "src/videossl/study/schema").glob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    assert len(nodes) > 1000
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            (decorator,) = node.decorator_list
            assert ast.unparse(decorator) == "model_validator(mode='after')"
            returns = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
            assert [ast.unparse(n) for n in returns] == ["return self"]
            attributes = [n for n in ast.walk(node) if isinstance(n, ast.Attribute)]
            assert all(isinstance(n.ctx, ast.Load) for n in attributes)


def test_every_name_has_code():
    assert set(schema.Methods.model_fields) == set(registry.METHODS)
    evaluations = {*schema.Finetuned.model_fields, *schema.Frozen.model_fields}
    assert evaluations == set(registry.TASKS)
    kinds = get_args(get_args(schema.Backbone)[0])
    names = {name for kind in kinds for name in get_args(kind.model_fields["name"].annotation)}
    assert names == set(registry.BACKBONES)


def test_a_stage_sees_what_it_declares_and_nothing_else():
    whole = params.load(ROOT / "params.yaml")
    given = params.subset(whole, params.PretrainParams, method="rspnet", task="margin")
    assert given.task == 0.15
    assert given.method.speeds == [1, 2]
    with pytest.raises(AttributeError, match="finetune"):
        given.finetune  # noqa: B018
    with pytest.raises(AttributeError, match="methods"):
        given.methods  # noqa: B018
