"""Run what DVC knows as one stage: all seeds and splits, published together.

A finished part waits in ``scratch/`` until the whole stage is there, so a kill costs one part.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from videossl.job import UserError, write_json
from videossl.study import disk, ownership, publication, records
from videossl.study.execution import SCRATCH
from videossl.study.graph import Graph
from videossl.study.stages import STAGES, Group, Instance

PARTS = SCRATCH / "parts"
NONE = "none"  # stands for an entry where a reference names none: templates cannot leave one out
STOOD_FOR = ("motion", "select", "pretrain", "finetune", "test", "embed", "evaluate")
Run = Callable[[Instance, Mapping[str, Sequence[Path]], Path], None]


def place(tree: Path, node: Instance) -> Path:
    """Where an instance's output lies in DVC's tree."""
    return tree / node.group.path / node.part


def made(graph: Graph, node: Instance, study: Path = Path()) -> Path | None:
    """An instance's output, if either engine has made it in the folder of the study."""
    places = (study / "runs" / graph.path(node), place(study / "results", node))
    return next((folder for folder in places if folder.is_dir()), None)


def group_of(stage: str, key: Sequence[str]) -> Group:
    """The group of ``stage`` for the values of its key that DVC tells apart."""
    names = [name for name in STAGES[stage].key if name not in ("seed", "split", "protocol")]
    return Group(stage, tuple(zip(names, key, strict=True)))


def run_group(graph: Graph, group: Group, tree: Path, run: Run) -> None:
    """Run the instances of ``group`` and publish their outputs as one folder of DVC's ``tree``.

    Where nothing needs the group, because no row or protocol names it, its output says so.
    """
    lock = ownership.lock_of("tree", *group.path.parts)
    with disk.explained(tree), ownership.owned(lock, str(group)) as waited:
        nodes = graph.groups.get(group, [])
        places = {node: place(tree, node) for node in nodes}
        if waited and all(records.holds(places[n], graph.fingerprint(n)) for n in places):
            return  # whoever this process waited for has made it
        _run_group(graph, group, tree, run)


def _run_group(graph: Graph, group: Group, tree: Path, run: Run) -> None:
    nodes = graph.groups.get(group, [])
    finished = {node: PARTS / graph.path(node) for node in nodes}
    for node, folder in finished.items():
        if _whole(folder):
            continue
        inputs = {
            role: [place(tree, needed) for needed in needs]
            for role, needs in graph.needs(node).items()
        }
        run(node, inputs, folder)
    with publication.made(tree / group.path) as part:
        for node, folder in finished.items():
            shutil.copytree(folder, part / node.part, copy_function=link, dirs_exist_ok=True)
        if not nodes:
            print(f"{group}: nothing needs it", flush=True)
        write_json(part / publication.CONTENTS, records.digests(part))
    for folder in finished.values():
        shutil.rmtree(folder, ignore_errors=True)


def _whole(folder: Path) -> bool:
    """Whether a part was finished before, and is still what it was; else it is made again."""
    if not folder.is_dir():
        return False
    try:
        records.check(folder, whole=True)
    except UserError:
        print(f"{folder}: damaged, so it is made again", file=sys.stderr)
        shutil.rmtree(folder)
        return False
    return True


def link(source: str, target: str) -> None:
    """The same file under a second name, or a copy where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_plan(graph: Graph, tree: Path) -> None:
    """Write what ``dvc.yaml`` cannot name to ``tree/plan/<stage>/<key>``, a file per stage of DVC.

    That is: the digest of the code that the stage can reach, the values of keys that a template
    cannot form, the content of files that parameters name; and whether anything needs the stage.
    """
    with publication.made(tree / "plan") as part:
        for group in [*graph.groups, *unneeded(graph)]:
            _write_plan_of(graph, group, part / str(group))
        write_json(part / publication.CONTENTS, {})
    for stage in STOOD_FOR:
        write_nothing(tree / stage / NONE)


def _write_plan_of(graph: Graph, group: Group, file: Path) -> None:
    nodes = graph.groups.get(group, [])
    code = {module: d for node in nodes for module, d in graph.code(node).items()}
    lines = [f"needed  {'yes' if nodes else 'no'}"]
    lines += [f"code  {module}  {digest}" for module, digest in sorted(code.items())]
    if nodes:
        lines += [f"key  {leaf}  {v!r}" for leaf, v in graph.hidden_leaves(group).items()]
    if group.stage == "aggregate":  # in the order of its tables, which no value tells
        every = (one for node in nodes for needed in graph.needs(node).values() for one in needed)
        lines += [f"shows  {one}" for one in every]
    contents = {name: d for node in nodes for name, d in graph.contents(node).items()}
    lines += [f"file  {name}  {digest}" for name, digest in sorted(contents.items())]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_nothing(out: Path) -> None:
    """What stands for an entry that is not there."""
    with publication.made(out) as part:
        write_json(part / publication.CONTENTS, {})


def unneeded(graph: Graph) -> list[Group]:
    """Stages that ``dvc.yaml`` makes of ``params.yaml`` and that nothing needs."""
    params = graph.params
    groups = [group_of("motion", [name]) for name in params.motion]
    groups += [group_of("select", ["probe", test]) for test in params.probe]
    for test in params.probe:
        for row in graph.rows:
            groups += [group_of("embed", [row, test]), group_of("evaluate", [row, test])]
    return [group for group in groups if group not in graph.groups]
