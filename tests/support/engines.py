"""What each engine plans, in the words of ``study/graph.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from videossl.study import graph as stages
from videossl.study import grouped, params
from videossl.study.graph import Graph
from videossl.study.stages import Group


class Node(NamedTuple):
    """A stage as an engine sees it."""

    leaves: frozenset[str]
    needs: frozenset[str]


# ------------------------------------------------------------------ instances: Snakemake


def declared(graph: Graph) -> dict[str, Node]:
    """The truth for Snakemake: instance -> what it reads and needs."""
    return {
        str(node): Node(
            frozenset(graph.leaves(node)),
            frozenset(str(n) for nodes in graph.needs(node).values() for n in nodes),
        )
        for node in graph.instances
    }


def from_snakemake(jobs: str) -> dict[str, Node]:
    """What Snakemake plans, from the output of ``planned_jobs.py``."""

    def name(path: str) -> str:
        return path.removeprefix("runs/").rpartition("/")[0]

    return {
        name(job["output"][0]): Node(
            frozenset(job["reads"]), frozenset(name(path) for path in job["input"])
        )
        for job in json.loads(jobs)
    }


def would_run_snakemake(text: str) -> set[str]:
    """The instances that a dry run, or a run, lists."""
    return set(re.findall(r"^    output: runs/(\S+)/[0-9a-f]{12}$", text, re.M))


def readers(graph: Graph, leaf: str) -> set[str]:
    """The instances that declare a leaf."""
    return {str(node) for node in graph.instances if leaf in graph.leaves(node)}


def affected(graph: Graph, leaf: str) -> set[str]:
    """The instances that declare a leaf, and all that need them."""
    hit: set[str] = set()
    for node in graph.instances:
        needs = {str(n) for nodes in graph.needs(node).values() for n in nodes}
        if leaf in graph.leaves(node) or needs & hit:
            hit.add(str(node))
    return hit


# ------------------------------------------------------------------ groups: DVC


def declared_groups(graph: Graph) -> dict[str, Node]:
    """The truth for DVC: group -> what its instances read and need."""
    return {
        str(group): Node(
            frozenset(graph.group_leaves(group)),
            frozenset(
                str(n.group) for node in nodes for ns in graph.needs(node).values() for n in ns
            ),
        )
        for group, nodes in graph.groups.items()
    }


def from_dvc(root: Path, graph: Graph) -> dict[str, Node]:
    """What ``dvc.yaml`` declares, with what ``plan`` adds of keys that it cannot name.

    The shards reach stages after ``select`` through the digest in its output.
    """
    names = {f"results/{group.path.as_posix()}": str(group) for group in graph.groups}
    idle = {f"results/{group.path.as_posix()}" for group in grouped.unneeded(graph)}
    hidden = {str(group): set(graph.hidden_leaves(group)) for group in graph.groups}
    found = {}
    with Repo(str(root)) as repo:
        for stage in repo.index.stages:
            out = stage.outs[0].def_path
            if out == "results/plan" or out in idle:
                continue
            name = names[out]
            keys: list[str] = []
            needs: set[str] = set()
            plans = []
            for dep in stage.deps:
                path = dep.def_path
                if isinstance(dep, ParamsDependency):
                    keys += dep.params
                elif path.startswith("results/plan/"):
                    plans.append(path.removeprefix("results/plan/"))
                elif "/none/" not in path:
                    # an output's digests, or the folder that holds several outputs
                    made = path.removesuffix("/contents.json")
                    hits = {n for o, n in names.items() if o == made or o.startswith(f"{made}/")}
                    # where a stage has no instance, `plan` makes its folder
                    empty = made in idle or made in {f"results/{s}" for s in grouped.STOOD_FOR}
                    assert hits or empty, f"{stage.name}: nothing makes {path}"
                    needs |= hits
            assert plans == [name], f"{stage.name}: its code is in {plans}"
            leaves = {
                leaf
                for leaf in graph.raw
                if any(leaf == key or leaf.startswith(f"{key}.") for key in keys)
            }
            if any(need.startswith("select/") for need in needs):
                needs |= {n for n in declared_groups(graph)[name].needs if n.startswith("decode/")}
            found[name] = Node(frozenset(leaves | hidden[name]), frozenset(needs))
    return found


def group_readers(graph: Graph, leaf: str) -> set[str]:
    """The groups that declare a leaf."""
    return {str(group) for group in graph.groups if leaf in graph.group_leaves(group)}


def group_affected(graph: Graph, leaf: str) -> set[str]:
    """The groups that declare a leaf, and all that need them."""
    hit: set[str] = set()
    for name, node in declared_groups(graph).items():
        if leaf in node.leaves or node.needs & hit:
            hit.add(name)
    return hit


def dvc_names(graph: Graph) -> dict[str, str]:
    """DVC's name of a stage -> the group."""
    return {dvc_name(graph, group): str(group) for group in graph.groups}


def dvc_name(graph: Graph, group: Group) -> str:
    """``finetune-baseline@scratch-synthetic``."""
    key = dict(group.key)
    stage = group.stage
    if stage == "select":
        stage += f"-{key.pop('form')}"
    if key.get("row") in graph.params.baselines and stage != "initialize":
        stage += "-baseline"
    who = "-".join(key.values())
    return f"{stage}@{who}" if who else stage


def changed_dvc(status: str, graph: Graph) -> set[str]:
    """The groups that ``dvc status --json`` says have changed parameters or code."""
    names = dvc_names(graph)
    return {names[name] for name in json.loads(status) if name in names}


def changed_keys_dvc(status: str, graph: Graph) -> dict[str, set[str]]:
    """Group -> the keys of ``params.yaml`` that ``dvc status --json`` says have changed."""
    names = dvc_names(graph)
    return {
        names[stage]: {
            key
            for change in changes
            if isinstance(change, dict)
            for key in change.get("changed deps", {}).get("params.yaml", {})
        }
        for stage, changes in json.loads(status).items()
        if stage in names
    }


def ran_dvc(output: str, graph: Graph) -> set[str]:
    """The groups that DVC ran; ``plan`` always runs."""
    names = dvc_names(graph)
    lines = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    return {names[line] for line in lines if not line.endswith(":plan")}


def load(root: Path) -> Graph:
    """The graph of a study."""
    return stages.load(root / params.DEFAULT)
