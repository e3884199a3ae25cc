"""Changing one leaf of params.yaml would rerun exactly what declares it, in both engines."""

from __future__ import annotations

import copy
import io
from typing import Any, Literal, get_args, get_origin

import pytest

from support import engines
from support.study import FEW, ROOT
from videossl.study import params
from videossl.study.graph import Graph

RAW = params.read(ROOT / "params.yaml")
STUDY = params.load(ROOT / "params.yaml")
GRAPH = Graph(STUDY, RAW)
LEAVES = sorted(params.leaves(RAW))
# values that no rule of thumb gives
OTHER = {
    "seeds": [1],
    "backbone.small.blocks": [1, 1, 1, 2],
    "backbone.small.mean": [0.5, 0.5, 0.5],
    "backbone.small.name": "r2plus1d",
    "backbone.small.std": [0.5, 0.5, 0.5],
    "baselines.scratch.weights": "other.safetensors",
    "data.synthetic.size": 48,
    "decode.fps": 12.5,
    "decode.short_side": 16,
    "finetune.synthetic.augment.crop_area": [0.3, 0.9],
    "finetune.synthetic.augment.crop_aspect": [0.9, 1.1],
    "finetune.synthetic.never_flipped": ["MoveLeft"],
    "finetune.synthetic.splits": [2],
    "finetune.synthetic.test.topk": [1],
    "methods.rho_swav.code_queue": 64,
    "methods.rspnet.speeds": [2, 1],
    "methods.vtdl.least_gap": -1,
    "pretrain.short.augment.crop_area": [0.3, 0.9],
    "pretrain.short.augment.crop_aspect": [0.9, 1.1],
    "pretrain.short.clip.frames": 3,
    "pretrain.short.clip.size": 24,
    "probe.synthetic.retrieval.topk": [1, 2],
    **{f"probe.{name}.features.layers": [-2] for name in RAW["probe"]},
    **{f"probe.{name}.splits": [2] for name in RAW["probe"]},
    "report.title": "Another title",
    "task.hierarchy.spatial": [0.25, 0.75, 1.0],
    "task.hierarchy.temporal": [0.25, 0.75, 1.0],
    **{f"optimizer.{name}.milestones": [0.5] for name in RAW["optimizer"]},
    **{f"methods.{name}.bn_group": 4 for name in RAW["methods"]},
    **{
        f"{form}.{name}.clip.{key}": value
        for form in ("finetune", "probe")
        for name in RAW[form]
        for key, value in (("frames", 3), ("size", 24), ("stride", 1))
    },
}
# one value is possible here, for reasons beyond the type
TIED = {
    "finetune.synthetic.sampling",
    "motion.edges.content",
    "motion.flow.content",
    "motion.flow.step",
    "pretrain.short.clip.stride",
    "probe.pairs.splits",
    "probe.synthetic.features.tokens",
    *(f"optimizer.{name}.nesterov" for name in RAW["optimizer"]),
}
# keys that hold the name of an entry
REFERENCES = (*("task", "data", "motion", "backbone", "optimizer", "pretrain", "method", "labels"),)
STRUCTURE = ("seeds", ".splits")  # lists that DVC's stages loop over: another list, other instances


def options(leaf: str) -> list[Any]:
    """The alternatives of a leaf's type."""
    *parents, last = leaf.split(".")
    holder = params.pick(STUDY, ".".join(parents)) if parents else STUDY
    field = getattr(type(holder), "model_fields", {}).get(last)
    return params._members(field.annotation) if field else []


def allowed(leaf: str) -> list[Any]:
    """The values that a leaf's type lists; none where it lists none."""
    return [v for o in options(leaf) if get_origin(o) is Literal for v in get_args(o)]


def fixed(leaf: str) -> bool:
    """Whether another value is an error."""
    names_an_entry = leaf.startswith(("methods.", "baselines.", "motion.", "finetune.", "probe."))
    names_an_entry &= leaf.rpartition(".")[2] in REFERENCES
    return leaf in TIED or names_an_entry or len(allowed(leaf)) == len(options(leaf)) == 1


FIXED = {leaf for leaf in LEAVES if fixed(leaf)}
CHANGEABLE = sorted(set(LEAVES) - FIXED)
SHAPE = [leaf for leaf in CHANGEABLE if leaf.endswith(STRUCTURE)]


def other(leaf: str, value: Any) -> Any:
    """Another possible value of a leaf."""
    if leaf in OTHER:
        return OTHER[leaf]
    if isinstance(value, bool):
        return not value
    if choices := [v for v in allowed(leaf) if v != value]:
        return choices[0]
    if isinstance(value, str):
        return 256  # "none" or a number
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 0.7 * value + 0.011
    return value[:-1] if len(value) > 2 else [0.2, 1.0]


def put(raw: Any, leaf: str, value: Any) -> None:
    *parents, last = leaf.split(".")
    for parent in parents:
        raw = raw[parent]
    assert raw[last] != value
    raw[last] = value


def mutate(study: Any, leaf: str) -> None:
    """Write params.yaml with another value at ``leaf``."""
    path = study.root / "params.yaml"
    document = params.yaml().load(path.read_text())
    put(document, leaf, other(leaf, params.leaves(document)[leaf]))
    text = io.StringIO()
    params.yaml().dump(document, text)
    path.write_text(text.getvalue())


@pytest.mark.parametrize("leaf", [leaf for leaf in CHANGEABLE if leaf not in SHAPE])
def test_a_leaf_touches_what_declares_it(leaf):
    raw = copy.deepcopy(RAW)
    put(raw, leaf, other(leaf, params.leaves(raw)[leaf]))
    changed = Graph(params.validate(raw, "params.yaml"), raw)
    touched = {
        str(node)
        for node in changed.instances
        if changed.fingerprint(node) != GRAPH.fingerprint(node)
    }
    assert touched == engines.affected(GRAPH, leaf)
    assert engines.readers(GRAPH, leaf), f"nothing reads {leaf}"


@pytest.mark.parametrize("leaf", SHAPE)
def test_other_seeds_and_splits_are_other_instances(leaf):
    raw = copy.deepcopy(RAW)
    put(raw, leaf, other(leaf, params.leaves(raw)[leaf]))
    changed = Graph(params.validate(raw, "params.yaml"), raw)
    assert set(changed.groups) == set(GRAPH.groups)
    for group in GRAPH.groups:
        others = changed.groups[group] != GRAPH.groups[group]
        declared = leaf in GRAPH.group_leaves(group)
        assert others == (declared and group.stage != "aggregate"), group


@pytest.mark.slow
def test_dvc_sees_every_leaf_where_it_is_declared(tiny):
    """All leaves at once: ``dvc status`` says which keys each stage has seen change."""
    graph = engines.load(tiny.root)
    leaves = [leaf for leaf in CHANGEABLE if leaf in graph.raw]
    assert len(leaves) > 100
    for leaf in leaves:
        mutate(tiny, leaf)
    seen = engines.changed_keys_dvc(tiny.run("dvc", "status", "--json").stdout, graph)
    for group in graph.groups:
        hidden = graph.hidden_leaves(group)
        expected = {
            leaf for leaf in leaves if leaf in graph.group_leaves(group) and leaf not in hidden
        }
        found = seen.get(str(group), set())
        for leaf in expected:  # a key whose leaves all have one possible value is never seen
            assert any(leaf == key or leaf.startswith(f"{key}.") for key in found), (group, leaf)
        for key in found:
            assert any(leaf == key or leaf.startswith(f"{key}.") for leaf in expected), (group, key)


def one_of_each() -> list[str]:
    """A leaf for each set of stages that read it, in the tiny study."""
    few = {
        **RAW,
        "methods": {name: RAW["methods"][name] for name in FEW},
        "probe": {"synthetic": RAW["probe"]["synthetic"]},
    }
    graph = Graph(params.validate(few, "params.yaml"), few)
    found: dict[frozenset[str], str] = {}
    for leaf in CHANGEABLE:
        if leaf in SHAPE or leaf not in graph.raw:
            continue
        if stages := frozenset(name.split("/")[0] for name in engines.readers(graph, leaf)):
            found.setdefault(stages, leaf)
    return sorted(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("leaf", one_of_each())
def test_both_engines_would_rerun_what_declares_a_leaf(tiny, leaf):
    graph = engines.load(tiny.root)
    mutate(tiny, leaf)
    planned = tiny.run("snakemake", "-n", "--cores", "2").stdout
    assert engines.would_run_snakemake(planned) == engines.affected(graph, leaf)

    tiny.run("videossl", "plan", "--tree", "results")  # what repro does first
    status = tiny.run("dvc", "status", "--json").stdout
    assert engines.changed_dvc(status, graph) == engines.group_readers(graph, leaf)


@pytest.mark.parametrize("leaf", sorted(FIXED))
def test_a_leaf_with_one_possible_value_is_refused_otherwise(leaf):
    raw = params.parse((ROOT / "params.yaml").read_text(), "params.yaml")
    put(raw, leaf, "something else")
    with pytest.raises(params.UserError, match=leaf.replace(".", r"\.")):
        params.validate(raw, "params.yaml")
