"""params.yaml: every fault is one line that names key, value and what is allowed."""

from __future__ import annotations

import ast
import copy
from typing import Any, get_args

import jsonschema
import pytest

from support.study import ROOT
from videossl.job import UserError
from videossl.study import json_schema, params, registry, schema
from videossl.study.graph import Graph

RAW = params.read(ROOT / "params.yaml")
MOTION = RAW["motion"]["flow"]
ROW = RAW["methods"]["rspnet"]
GAZE = params.read(ROOT / "configs/transfer.yaml")["finetune"]["gaze"]


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
        ("task.margin", -1, "task.margin = -1: must be greater than or equal to 0 (methods.rspnet"),
        ("task.margin", "high", "task.margin = 'high': must be a valid number"),
        (
            "task.tca.alpha",
            2.0,
            "task.tca.alpha = 2.0: must be less than or equal to 1",
        ),
        ("task.tca.beta", 2.0, "task.tca.beta: no such key; allowed here: alpha, apply_to"),
        ("taks", {}, "taks: no such key; allowed here: seeds, data, decode"),
        ("seeds", [True], "seeds.0 = True: must be a valid integer"),
        ("seeds", [1, 1], "seeds = [1, 1]: must differ from one another"),
        (
            "finetune.synthetic.splits",
            [4],
            "finetune.synthetic.splits = [4]: the built-in dataset has the splits 1 to 3",
        ),
        (
            "finetune.synthetic.labels",
            "tags",
            "finetune.synthetic.test.average: no such key; finetune.synthetic.labels = 'tags'",
        ),
        (
            "finetune.synthetic.test",
            {"clips": 1, "crops": 1, "batch_size": 4, "topk": [1]},
            "finetune.synthetic.test.average: missing; finetune.synthetic.labels = 'action'",
        ),
        (
            "finetune.synthetic.sampling",
            "cover",
            "finetune.synthetic.clip.stride = 6: must be 1: finetune.synthetic.sampling = 'cover'",
        ),
        (
            "finetune.synthetic",
            {**GAZE, "test": {**GAZE["test"], "clips": 3}},
            "finetune.synthetic.test.clips = 3: must be 1: finetune.synthetic.labels = 'gaze'",
        ),
        (
            "finetune.synthetic",
            {**GAZE, "labels": "boxes"},
            "finetune.synthetic.test.detector_score: missing; finetune.synthetic.labels = 'boxes'",
        ),
        (
            "finetune.synthetic.test.detector_score",
            0.5,
            "finetune.synthetic.test.detector_score: no such key; finetune.synthetic.labels = 'a",
        ),
        (
            "finetune.synthetic",
            {**GAZE, "test": {**GAZE["test"], "crops": 3}},
            "finetune.synthetic.test.crops = 3: must be 1: finetune.synthetic.labels = 'gaze'",
        ),
        (
            "finetune.synthetic",
            {**GAZE, "sampling": "cover"},
            "finetune.synthetic.sampling = 'cover': must be window: finetune.synthetic.labels = ",
        ),
        (
            "finetune.synthetic.dilated",
            True,
            "finetune.synthetic.dilated = True: only slow can be dilated; backbone.small of row ",
        ),
        ("probe.synthetic.splits", [1, 1], "splits = [1, 1]: must differ from one another"),
        ("methods.byol", {**ROW, "method": "byol"}, "methods.byol.method = 'byol': must be 'rsp"),
        ("methods.byol", {"task": "rho"}, "methods.byol.method: missing"),
        ("methods.rspnet", None, "methods.rspnet: has no value; give one or remove the key"),
        ("methods.rspnet.task", "x", "methods.rspnet.task = 'x': must be an entry of task: marg"),
        (
            "methods.rspnet.task",
            "tca",
            "task.tca: must be a valid number (methods.rspnet reads it)",
        ),
        (
            "methods.rspnet.optimizer",
            "sgd",
            "methods.rspnet.optimizer = 'sgd': must be an entry of optimizer: adamw, adamw_higher",
        ),
        (
            "methods.rspnet.speeds",
            [1, 99],
            "methods.rspnet.speeds = [1, 99]: needs 1783 frames, more than every video has",
        ),
        ("methods.rspnet.speeds", [2, 2], "speeds = [2, 2]: must differ from one another"),
        ("methods.hdc.bn_group", 5, "methods.hdc.bn_group = 5: must divide the 16 videos that are"),
        ("methods.rho_moco.queue", 4, "methods.rho_moco.queue = 4: must hold at least one batch"),
        (
            "pretrain.short.clip.stride",
            64,
            "must be pretrain.short.clip.stride = 64, or the flow is not between the frames",
        ),
        (
            "finetune.synthetic.clip.stride",
            64,
            "finetune.synthetic.clip.stride = 64: 4 frames then span 193, longer than every video",
        ),
        (
            "methods.rspnet.data",
            "k400",
            "methods.rspnet.data = 'k400': must be an entry of data: s",
        ),
        (
            "pretrain.short.augment.crop_area",
            [1.0, 0.5],
            "crop_area = [1.0, 0.5]: must be [low, high]",
        ),
        ("data.synthetic.framez", 3, "data.synthetic.framez: no such key; allowed here: format"),
        ("data.synthetic.frames", "a", "data.synthetic.frames = 'a': must be a valid integer"),
        ("data.ucf", {"format": "avi", "root": "x"}, "data.ucf.format = 'avi': must be 'synth"),
        (
            "data.ucf",
            {"format": "ucf101", "missing": 0.0, "revision": 1},
            "data.ucf.root: missing",
        ),
        ("finetune.synthetic.data", "x", "finetune.synthetic.data = 'x': must be an entry of data"),
        (
            "probe.synthetic.labels",
            "words",
            "probe.synthetic.labels = 'words': must be labels of data.synthetic (format synthetic)",
        ),
        (
            "probe.synthetic.labels",
            "tags",
            "probe.synthetic.attentive: tests labels of kind class; probe.synthetic.labels = 't",
        ),
        (
            "probe.synthetic.similarity",
            {"regularization": 1.0},
            "probe.synthetic.similarity: tests labels of kind pairs; probe.synthetic.labels = 'act",
        ),
        (
            "finetune.synthetic.labels",
            "pairs",
            "finetune.synthetic.labels = 'pairs': are of kind pairs, which finetune cannot test",
        ),
        ("probe.synthetic.svm", {"c": 1}, "probe.synthetic.svm: no such key; allowed here: data"),
        ("motion.none", MOTION, "motion.none: the name is taken"),
        (
            "motion.far",
            {**MOTION, "step": 8},
            "motion.far.step = 8: must be less than decode.min_frames = 8",
        ),
        ("methods.sts.motion", "edges", "must be an entry of motion with content flow; it has edg"),
        (
            "baselines.rspnet",
            {"weights": "random", "backbone": "small"},
            "baselines.rspnet: also an entry of methods",
        ),
        (
            "optimizer.adamw_finetune.warmup_epochs",
            9,
            "optimizer.adamw_finetune.warmup_epochs = 9: must be at most finetune.synthetic.epoc",
        ),
        (
            "pretrain.short.epochs",
            0,
            "pretrain.short.epochs = 0: must be greater than",
        ),
        (
            "baselines.big",
            {"weights": "random", "backbone": "big"},
            "baselines.big.backbone = 'big': must be an entry of backbone: small",
        ),
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
    del raw["optimizer"]["adamw"]["lr"]
    with pytest.raises(UserError, match=r"^params.yaml: optimizer.adamw.lr: missing$"):
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


NOT_TEXT = {
    "utf16": ("a: 1\n".encode("utf-16"), "byte 1 is not UTF-8"),
    "latin1": ("title: Étude\n".encode("latin-1"), "byte 8 is not UTF-8"),
    "deep": (b"a: " + b"[" * 3000 + b"]" * 3000, "nested too deeply"),
    "endless": (b"a: &a\n  b:\n  - 1\n  - {c: *a}\n", r"a\.b\.1\.c: an alias"),
    "control": (b"a: \x00\n", "not valid YAML"),
    "twice": (b"a: 1\na: 2\n", "not valid YAML"),
}


@pytest.mark.parametrize(("content", "message"), NOT_TEXT.values(), ids=NOT_TEXT)
def test_a_file_that_is_no_study_is_one_line(tmp_path, content, message):
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"params\.yaml: .*{message}") as error:
        params.load(file)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.symlink_to(file)
    with pytest.raises(UserError, match=r"params\.yaml: cannot be read: Too many levels"):
        params.load(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=r"params\.yaml: cannot be read: Is a directory"):
        params.load(file)


def test_an_alias_of_another_block_is_an_ordinary_value():
    raw = params.parse("a: &a {b: [1]}\nc: *a\nd: [*a, *a]\n", "params.yaml")
    assert raw["d"] == [{"b": [1]}] * 2


def test_typing_changes_no_value():
    """What a stage sees is what stood in the file, so schema/ need not count as its code."""
    assert params.leaves(params.dump(params.load(ROOT / "params.yaml"))) == params.leaves(RAW)


def test_a_variant_takes_the_rest_from_the_entry_of_its_method():
    raw = copy.deepcopy(RAW)
    raw["task"]["no_margin"] = 0.0
    references = ("data", "motion", "backbone", "optimizer", "pretrain")
    raw["methods"]["still"] = {
        "method": "rspnet",
        "task": "no_margin",
        "queue": 512,
        **{key: ROW[key] for key in references},
    }
    study = params.validate(raw, "params.yaml")
    assert study.methods["still"] == study.methods["rspnet"].model_copy(
        update={"task": "no_margin", "queue": 512}
    )
    assert study.task["no_margin"] == 0.0
    del raw["methods"]["rspnet"]
    with pytest.raises(UserError, match=r"methods\.still\.speeds: missing"):
        params.validate(raw, "params.yaml")


def test_tasks_that_no_row_names_may_be_anything():
    study = params.validate(put("task.later", {"what": "ever"}), "params.yaml")
    assert study.task["later"] == {"what": "ever"}


def test_schema_holds_fields_and_checks_only():
    """Nothing in schema/ computes a value: see ``code_digest.ENGINE``."""
    files = (ROOT / "src/videossl/study/schema").glob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    assert len(nodes) > 1000
    for node in nodes:
        if not isinstance(node, ast.FunctionDef):
            continue
        (decorator,) = node.decorator_list
        if ast.unparse(decorator) == "model_validator(mode='after')":
            returns = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
            assert [ast.unparse(n) for n in returns] == ["return self"]
        else:  # what only the engine and the checks ask for
            assert node.name in ("run", "reach")
        attributes = [n for n in ast.walk(node) if isinstance(n, ast.Attribute)]
        assert all(isinstance(n.ctx, ast.Load) for n in attributes)


def test_every_name_has_code():
    methods = {name for row in schema.ROWS for name in get_args(field(row, "method"))}
    assert methods == set(registry.METHODS)
    assert set(schema.Probe.protocols) == set(registry.PROTOCOLS)
    assert set(schema.Probe.protocols) <= set(schema.Probe.model_fields)
    backbones = get_args(get_args(schema.Backbone)[0])
    names = {name for kind in backbones for name in get_args(field(kind, "name"))}
    assert names == set(registry.BACKBONES)
    data = get_args(get_args(schema.Dataset)[0])
    formats = {name for kind in data for name in get_args(field(kind, "format"))}
    assert formats == set(registry.DATASETS) == set(registry.LABELS)


def field(block: Any, name: str) -> Any:
    return block.model_fields[name].annotation


def test_a_stage_sees_what_it_declares_and_nothing_else():
    graph = Graph(params.load(ROOT / "params.yaml"), RAW)
    given: Any = graph.subset(graph.find("pretrain", {"row": "rspnet", "seed": "0"}))
    assert given.task == 0.15
    assert given.method.speeds == [1, 2]
    for other in ("finetune", "methods", "seeds"):
        with pytest.raises(AttributeError, match=other):
            getattr(given, other)
    key = {"row": "rspnet", "test": "synthetic", "seed": "0", "split": "1"}
    given = graph.subset(graph.find("finetune", key))
    assert given.finetune.share == RAW["finetune"]["synthetic"]["share"]
    for other in ("test", "splits"):
        with pytest.raises(AttributeError, match=other):
            getattr(given.finetune, other)


def test_the_schema_for_editors_is_the_one_in_docs():
    assert (ROOT / "docs/params.schema.json").read_text() == json_schema.text()
    validator = jsonschema.Draft202012Validator(json_schema.build())
    assert not list(validator.iter_errors(RAW))
    assert list(validator.iter_errors(put("seeds", ["a"])))
    assert list(validator.iter_errors(put("methods.rspnet.speed", 1)))


@pytest.mark.parametrize(
    ("test", "changes", "line"),
    [
        ("scene", {"splits": [1, 2]}, "splits = [1, 2]: must be [1]; probe.other.labels = 'scene'"),
        ("pairs", {"splits": [2]}, "splits = [2]: must be [1]; probe.other.labels = 'pairs' are"),
        (
            "tags",
            {"data": "planes", "labels": "plane"},
            "features.clips = 2: must be 1, around the frame; probe.other.labels = 'plane' are of",
        ),
    ],
)
def test_a_kind_without_splits_or_with_frames_is_tested_as_it_can_be(test, changes, line):
    raw = copy.deepcopy(RAW)
    raw["data"]["planes"] = {
        "format": "frame_classes",
        "root": "planes",
        "missing": 0.0,
        "revision": 1,
    }
    transfer = params.read(ROOT / "configs/transfer.yaml")["probe"][test]
    raw["probe"]["other"] = transfer
    params.validate(raw, "params.yaml")
    raw["probe"]["other"] = transfer | changes
    with pytest.raises(UserError) as caught:
        params.validate(raw, "params.yaml")
    assert str(caught.value).startswith(f"params.yaml: probe.other.{line}")
