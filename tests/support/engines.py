"""What each engine plans, in the words of ``graph.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from videossl.study import graph, params, stored_runs
from videossl.study.graph import Graph


class Node(NamedTuple):
    """One stage instance as an engine sees it."""

    leaves: frozenset[str]
    needs: frozenset[str]
    code: str


def declared(graph: Graph) -> dict[str, Node]:
    """The truth: path -> what it reads, needs, and where its code digest is."""
    return {
        str(node): Node(
            frozenset(graph.leaves(node)),
            frozenset(str(n) for nodes in graph.needs(node).values() for n in nodes),
            graph.code_name(node),
        )
        for node in graph.instances
    }


def from_dvc(root: Path, graph: Graph) -> dict[str, Node]:
    """What ``dvc.yaml`` declares."""
    names = {
        f"results/{stored_runs.dvc_path(node).as_posix()}": str(node) for node in graph.instances
    }
    found = {}
    with Repo(str(root)) as repo:
        for stage in repo.index.stages:
            (out,) = (o.def_path for o in stage.outs)
            if out in ("results/plan", "results/motion/none"):
                continue
            keys: list[str] = []
            needs: set[str] = set()
            code = ""
            for dep in stage.deps:
                path = dep.def_path
                if isinstance(dep, ParamsDependency):
                    keys += dep.params
                elif path.startswith("results/plan/"):
                    code = path.removeprefix("results/plan/")
                elif (
                    path != "results/motion/none/manifest.json"
                ):  # an output, a file in one, or the folder that holds several
                    hits = {
                        name
                        for made, name in names.items()
                        if path == made
                        or made.startswith(f"{path}/")
                        or path.startswith(f"{made}/")
                    }
                    assert hits, f"{stage.name}: nothing makes {path}"
                    needs |= hits
            leaves = {
                leaf
                for leaf in graph.raw
                if any(leaf == key or leaf.startswith(f"{key}.") for key in keys)
            }
            found[names[out]] = Node(frozenset(leaves), frozenset(needs), code)
    return found


def from_snakemake(jobs: str) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """What Snakemake plans, from the output of ``planned_jobs.py``: path -> (leaves, needs)."""

    def name(path: str) -> str:
        return path.removeprefix("runs/").rpartition("/")[0]

    return {
        name(job["output"][0]): (
            frozenset(job["reads"]),
            frozenset(name(path) for path in job["input"]),
        )
        for job in json.loads(jobs)
    }


def would_run_snakemake(text: str) -> set[str]:
    """The instances that a dry run lists."""
    return set(re.findall(r"^    output: runs/(\S+)/[0-9a-f]{12}$", text, re.M))


def changed_dvc(status: str, graph: Graph) -> set[str]:
    """The instances that ``dvc status --json`` says have changed parameters or code."""
    names = dvc_names(graph)
    return {names[name] for name in json.loads(status) if name in names}


def changed_keys_dvc(status: str, graph: Graph) -> dict[str, set[str]]:
    """Instance -> the keys of ``params.yaml`` that ``dvc status --json`` says have changed."""
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


def dvc_names(graph: Graph) -> dict[str, str]:
    names = {}
    for node in graph.instances:
        who = "-".join(value for _, value in node.who)
        stage = node.stage
        if stage == "evaluate":
            stage = "frozen" if dict(node.who)["protocol"] in graph.frozen else "finetuned"
        if dict(node.who).get("encoder") in graph.params.baselines:
            stage += "-baseline"
        names[f"{stage}@{who}" if who else stage] = str(node)
    return names


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


def load(root: Path) -> Graph:
    """The graph of a study."""
    return graph.load(root / params.DEFAULT)
