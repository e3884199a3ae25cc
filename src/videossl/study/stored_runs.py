"""What is stored under ``runs/``: list it, remove what no study needs, link it into DVC's tree."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videossl.job import UserError, write_json
from videossl.study import disk, grouped, leftovers, params, publication, records
from videossl.study import overlay as overlays
from videossl.study.graph import Graph
from videossl.study.stages import STAGES, Instance, instance


@dataclass(frozen=True)
class Run:
    """One stored output."""

    path: Path
    record: dict[str, Any]  # its stage.json

    @property
    def name(self) -> str:
        """``<stage>/<key>``."""
        stage, key = self.record["stage"], self.record["key"]
        return str(instance(stage, *(str(key[name]) for name in STAGES[stage].key)))

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return time.time() - (self.path / "stage.json").stat().st_mtime


@dataclass(frozen=True)
class Damaged:
    """A stored output that says of itself nothing that can be believed."""

    path: Path
    why: str


def stored(root: Path) -> tuple[list[Run], list[Damaged]]:
    """All outputs under ``root``, by path; ``report`` is a link to one of them."""
    found: list[Run] = []
    damaged: list[Damaged] = []
    for folder, names, files in os.walk(root):
        # hidden folders are outputs that are being written or removed
        names[:] = sorted(
            n for n in names if not n.startswith(".") and not Path(folder, n).is_symlink()
        )
        if "stage.json" in files:
            names.clear()
            try:
                found.append(Run(Path(folder), records.read(Path(folder))))
            except UserError as error:
                damaged.append(Damaged(Path(folder), str(error)))
    return found, damaged


def table(graph: Graph, root: Path) -> str:
    """A line per stored output: what it is, how its parameters differ from now, size, age."""
    nodes = {str(node): node for node in graph.instances}
    rows = [("OUTPUT", "FINGERPRINT", "DIFFERS FROM params.yaml BY", "SIZE", "AGE")]
    runs, damaged = stored(root)
    for run in runs:
        node = nodes.get(run.name)
        difference = _difference(graph, node, run)
        fingerprint = str(run.record["fingerprint"])
        rows.append((run.name, fingerprint, difference, _size(run.bytes), _age(run.age)))
    for one in damaged:
        rows.append((str(one.path.relative_to(root)), "-", "damaged: say --verify", "-", "-"))
    if len(rows) == 1:
        return f"nothing is stored under {root}"
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def verify(root: Path) -> tuple[str, bool]:
    """Read every stored byte again; a line per file that is not as it was written, and whether.

    Shards are read as a whole, so that frames which no study read lately are looked at, too.
    """
    runs, damaged = stored(root)
    wrong = [one.why for one in damaged]
    for run in runs:
        try:
            records.check(run.path, whole=True)
        except UserError as error:
            wrong.append(str(error))
    size = sum(run.bytes for run in runs)
    total = f"{len(runs) + len(damaged)} outputs, {_size(size)}: {len(wrong) or 'none'} damaged"
    return "\n".join([*wrong, total]), not wrong


def _difference(graph: Graph, node: Instance | None, run: Run) -> str:
    if node is None:
        return "not in the study"
    if graph.fingerprint(node) == run.record["fingerprint"]:
        return "current"
    now, then = graph.leaves(node), run.record["params"]
    keys = [key for key in sorted({*now, *then}) if now.get(key) != then.get(key)]
    shown = [f"{key} {then.get(key, '-')}" for key in keys[:3]]
    if len(keys) > 3:
        shown.append(f"and {len(keys) - 3} more")
    if graph.code(node) != run.record["code"]:
        shown.append("code")
    return ", ".join(shown) or "inputs"


def prune(graph: Graph, root: Path, results: Path, keep: Sequence[Path], yes: bool) -> str:
    """Remove outputs that neither ``params.yaml`` nor ``params.yaml`` with an overlay needs.

    So go outputs that are damaged beyond telling what they are, and what processes left that were
    killed or given up. What a process makes now stays.

    Args:
        graph: the current study.
        root: where Snakemake's outputs lie.
        results: where DVC's do; there leftovers go only.
        keep: overlays of other studies whose outputs stay.
        yes: remove; otherwise only say what would go.
    """
    graphs = [graph]
    for overlay in keep:
        _, text = overlays.overlaid(overlay)
        raw = params.parse(text, str(overlay))
        graphs.append(Graph(params.validate(raw, str(overlay)), raw))
    needed = {g.path(node) for g in graphs for node in g.instances}
    runs, damaged = stored(root)
    outputs = [run.path for run in runs if run.path.relative_to(root) not in needed]
    outputs += [one.path for one in damaged]
    left = leftovers.found([root, results], needed)
    sizes = {path: leftovers.size(path) for path in [*outputs, *left]}
    if yes:
        with disk.explained(root):
            for path in outputs:
                _remove(path, root)
            for path in left:
                leftovers.remove(path)
    word = "removed" if yes else "would remove (say --yes to do it)"
    lines = [f"{_size(size):>8}  {path}" for path, size in sizes.items()]
    counts = f"{len(outputs)} outputs and {len(left)} leftovers"
    return "\n".join([*lines, f"{word} {counts}, {_size(sum(sizes.values()))}"])


def _remove(path: Path, root: Path) -> None:
    """Remove an output by a rename first, so that it is never there in part."""
    gone = path.with_name(f".{path.name}.old")
    leftovers.remove(gone)
    path.rename(gone)
    shutil.rmtree(gone)
    for parent in gone.parents:
        if parent == root or any(parent.iterdir()):
            break
        parent.rmdir()


def adopt(graph: Graph, runs: Path, results: Path) -> str:
    """Link Snakemake's outputs that fit the current study into DVC's tree.

    Files are hard links, so big shards exist once on disk. ``dvc commit -f`` then records them.

    Raises:
        UserError: none fits.
    """
    whole = {
        group: nodes
        for group, nodes in graph.groups.items()
        if all((runs / graph.path(node)).is_dir() for node in nodes)
    }
    if not whole:
        raise UserError(f"{runs}: holds no output of the current params.yaml and code")
    for group, nodes in whole.items():
        out = results / group.path
        with publication.made(out) as part:
            for node in nodes:
                source = runs / graph.path(node)
                records.check(source)
                shutil.copytree(
                    source,
                    part / node.part,
                    copy_function=grouped.link,
                    ignore=_snakemake_marks,
                    dirs_exist_ok=True,
                )
            write_json(part / publication.CONTENTS, records.digests(part))
    grouped.write_plan(graph, results)
    for group in grouped.unneeded(graph):
        grouped.write_nothing(results / group.path)
    absent = len(graph.groups) - len(whole)
    return f"adopted {len(whole)} stages, {absent} not there; now: dvc commit -f"


def _snakemake_marks(_: str, names: Sequence[str]) -> Iterator[str]:
    return (name for name in names if name == ".snakemake_timestamp")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
