"""Every stage, failed or killed at every change that it makes to files; then run again.

    python benchmarks/crash_points.py                       # all; an hour on two cores
    python benchmarks/crash_points.py select evaluate       # some of them
    python benchmarks/crash_points.py --json benchmarks/results/crash_points.json

A point is a call that opens a file to write, writes, syncs, renames, links or removes one, or makes
a folder, below the output, ``scratch/`` (with its locks) and the folder of temporary files: found
by tracing one run. Of the same call on names that differ in digits only, the first, one in the
middle and the last are points. At each the call fails once (EIO, ENOSPC), and the process is
killed. Then an output that is there must be whole, an error must be one line, and no child may be
left; after running again the bytes must be those of a run that nothing happened to, and no
temporary file may be there.

Which process of several does what differs from run to run: a point that a run does not come to is
tried again, three times in all, and then counts as missed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import figures_file
import traced_run
from traced_run import Call, Ended

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ("EIO", "ENOSPC", "KILL")
TRIES = 3  # at a point that is not reached
KIN = 8  # names of one kind in one depth, from which they count as one
ROW, BASELINE, TEST = "sts", "scratch", "synthetic"
STAGES = {  # a stage instance of each; the row without pretraining where one does
    "prepare": ("prepare", TEST),
    "decode": ("decode", TEST),
    "motion": ("motion", "flow"),
    "select": ("select", "probe", TEST),
    "pretrain": ("pretrain", ROW, "0"),
    "initialize": ("initialize", BASELINE, "0"),
    "finetune": ("finetune", BASELINE, TEST, "0", "1"),
    "test": ("test", BASELINE, TEST, "0", "1"),
    "embed": ("embed", BASELINE, TEST, "0"),
    "evaluate": ("evaluate", BASELINE, TEST, "knn", "0", "1"),
    "aggregate": ("aggregate",),
}
OVERLAY = """
finetune:
  synthetic:
    epochs: 1
probe:
  synthetic:
    linear: null
    attentive: null
    retrieval: null
"""


@dataclass(frozen=True)
class Case:
    """What is run, in a folder of its own beside the study's."""

    name: str
    arguments: tuple[str, ...]
    out: str  # what it makes
    before: Callable[[Path], None] | None = None  # makes what is there already


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="cases; all where none is named")
    parser.add_argument("--every", type=int, default=1, help="take one of so many points")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    if traced_run.strace() is None:
        sys.exit(traced_run.ABSENT)
    prepare_process()
    with tempfile.TemporaryDirectory(prefix="crash-points-") as folder:
        base = Path(folder).resolve() / "study"
        make_study(base)
        known = {case.name: case for case in cases(base)}
        names = args.names or list(known)
        if unknown := set(names) - set(known):
            sys.exit(f"no such case: {', '.join(unknown)}; there are: {', '.join(known)}")
        one = partial(measure, base, every=args.every)
        with ProcessPoolExecutor(args.jobs) as pool:
            results = list(pool.map(one, names))
    print(table(results))
    figures_file.merge(args.json, results, "stage")
    sys.exit(1 if any(result["failures"] for result in results) else 0)


def prepare_process() -> None:
    """Import what all stages need, once, and let every run compute in one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["VIDEOSSL_CHECKPOINT_SECONDS"] = "0"  # a checkpoint after each step
    os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir(), "matplotlib")))
    from importlib import import_module

    from videossl.study.registry import BACKBONES, METHODS, OBJECTIVES
    from videossl.study.stages import STAGES as ALL

    entries = [stage.entry for stage in ALL.values() if stage.entry]
    others = [METHODS[ROW], BACKBONES["r3d"], *OBJECTIVES.values()]
    for module in [*entries, *others, "videossl.data.builtin.synthetic", "videossl.cli"]:
        import_module(module)
    for module in ("execution", "grouped", "stored_runs", "overlay"):
        import_module(f"videossl.study.{module}")


# ------------------------------------------------------------------ what is run


def make_study(base: Path, overlay: str = OVERLAY) -> None:
    """A very small study with ``overlay`` laid over it, every instance run once."""
    from videossl.study import execution, graph
    from videossl.study.launch import command
    from videossl.study.registry import METHODS

    base.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", base)
    others = "".join(f"  {name}: null\n" for name in METHODS if name != ROW)
    (base / "small.yaml").write_text(f"{overlay}methods:\n{others}")
    for file in (ROOT / "configs" / "tiny.yaml", base / "small.yaml"):
        _run(["configure", str(file)], base)
    planned = graph.load(base / "params.yaml")
    for node in planned.instances:
        inputs = execution.inputs_below(planned, node, base / "runs")
        _run(command(node, inputs, base / "runs" / planned.path(node), threads=2), base)


def _run(arguments: Sequence[str], folder: Path) -> Ended:
    ended = traced_run.run(arguments, folder)
    if ended.status:
        raise RuntimeError(f"{' '.join(arguments)}: {ended.status}\n{ended.said}")
    return ended


def cases(base: Path) -> list[Case]:
    """A run of each stage; one that replaces an output; DVC's form; and the verbs that write."""
    from videossl.study import execution, graph
    from videossl.study.launch import command
    from videossl.study.stages import instance

    planned = graph.load(base / "params.yaml")
    found = []
    for name, words in STAGES.items():
        node = instance(*words)
        inputs = execution.inputs_below(planned, node, base / "runs")
        arguments = tuple(command(node, inputs, Path("out", name), threads=2))
        found.append(Case(name, arguments, f"out/{name}"))
    select = next(case for case in found if case.name == "select")
    adopted = ("adopt", "--runs", str(base / "runs"))

    def older(folder: Path) -> None:
        """An output of the same stage that was made of other parameters."""
        _run(select.arguments, folder)
        (folder / select.out / "examples.csv").write_text("older\n")

    def linked(folder: Path) -> None:
        _run(adopted, folder)
        shutil.rmtree(folder / "results" / "evaluate" / BASELINE)

    def kept(folder: Path) -> None:
        shutil.copytree(base / "runs", folder / "runs", symlinks=True, copy_function=os.link)
        text = (folder / "params.yaml").read_text()
        (folder / "params.yaml").write_text(text.replace("neighbours: 20", "neighbours: 10"))

    return [
        *found,
        Case("select, replaced", select.arguments, select.out, older),
        Case("plan", ("plan", "--tree", "results"), "results/plan"),
        Case("adopt", adopted, "results"),
        Case(
            "evaluate, DVC's",
            ("evaluate", BASELINE, TEST, "--tree", "results", "--threads", "2"),
            f"results/evaluate/{BASELINE}/{TEST}",
            linked,
        ),
        Case("prune", ("prune", "--yes"), "runs", kept),
    ]


# ------------------------------------------------------------------ points


def measure(base: Path, name: str, every: int = 1) -> dict[str, Any]:
    """Strike a case at all of its points."""
    begin = time.monotonic()
    case = next(case for case in cases(base) if case.name == name)
    folder = base.with_name(re.sub(r"\W+", "-", case.name))
    _fresh(base, case, folder)
    whole = traced_run.run(case.arguments, folder, traced_run.trace())
    if whole.status:
        raise RuntimeError(f"{case.name}: {whole.status}\n{whole.said}")
    wanted = digests(folder / case.out)
    every_call = traced_run.calls(whole, folder)
    points = choose(every_call)[::every]
    failures, missed = [], 0
    for call in points:
        for how in FAULTS:
            for _ in range(TRIES):
                _fresh(base, case, folder)
                old = digests(folder / case.out)
                ended = traced_run.run(case.arguments, folder, traced_run.fault(call, how, folder))
                if ended.struck:
                    break
            missed += not ended.struck
            wrong = list(at_once(ended, how, folder / case.out, (old, wanted)))
            again = traced_run.run(case.arguments, folder)
            wrong += afterwards(again, folder, folder / case.out, wanted)
            if call.name.startswith("unlink") and how != "KILL":  # then it stays, by its nature
                wrong = [text for text in wrong if not text.startswith("left behind: tmp/")]
            at = f"{call} {how}".replace(f"{folder}/", "")
            failures += [f"{at}: {text}" for text in wrong]
            right = "right" if ended.struck else "missed"
            print(f"{case.name}: {at}: {'; '.join(wrong) or right}", file=sys.stderr)
    shutil.rmtree(folder)
    return {
        "stage": case.name,
        "calls": len(every_call),
        "points": len(points),
        "runs": len(points) * len(FAULTS),
        "missed": missed,
        "failures": failures,
        "seconds": round(time.monotonic() - begin),
    }


def _fresh(base: Path, case: Case, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(base / "params.yaml", folder)
    if case.before is not None:
        case.before(folder)


def choose(calls: Iterable[Call]) -> list[Call]:
    """The points: of each kind of call the first, one in the middle, and the last."""
    calls = list(calls)
    kinds: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        kinds.setdefault((call.name, re.sub(r"\d+", "#", call.file)), []).append(call)
    kin: dict[tuple[str, int, str], set[tuple[str, str]]] = {}
    for name, file in kinds:
        kin.setdefault((name, file.count("/"), Path(file).suffix), set()).add((name, file))
    for relatives in kin.values():
        if len(relatives) > KIN:
            first, *others = sorted(relatives)
            for other in others:
                kinds[first] += kinds.pop(other)
            kinds[first].sort(key=calls.index)
    chosen = {call for kind in kinds.values() for call in (kind[0], kind[len(kind) // 2], kind[-1])}
    return [call for call in calls if call in chosen]


def digests(out: Path) -> dict[str, Any]:
    """What an output holds: name -> digest; durations and what DVC or Snakemake adds apart."""
    from videossl import durable
    from videossl.study import records

    return {
        path.relative_to(out).as_posix(): durable.sha256(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in records.ASIDE
    }


def at_once(
    ended: Ended, how: str, out: Path, allowed: tuple[dict[str, Any], dict[str, Any]]
) -> Iterable[str]:
    """What is wrong right after the fault."""
    from videossl.job import UserError
    from videossl.study import records

    if ended.status is None:
        yield "hangs"
    if ended.left:
        yield "a child was left"
    if "Traceback" in ended.said:
        yield f"a traceback: {ended.said.strip().splitlines()[-1]}"
    # where a child was killed, the process itself goes on or says so
    if ended.status not in ((0, 2, -9) if how == "KILL" else (0, 2)):
        yield f"exit status {ended.status}"
    if ended.status == 2 and "error: " not in ended.said:
        yield "says nothing"
    if out.name in ("results", "runs"):  # several outputs: each is whole or absent
        folders = [path.parent for path in out.rglob("stage.json") if _shown(path, out)]
        for folder in folders:
            try:
                records.check(folder, whole=True)
            except UserError as error:
                yield f"a partial output is accepted: {error}"
    elif out.exists() and digests(out) not in allowed:
        yield "a partial output is accepted"


def _shown(path: Path, out: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(out).parts)


def afterwards(ended: Ended, folder: Path, out: Path, wanted: dict[str, Any]) -> Iterable[str]:
    """What is wrong after running again."""
    if ended.status:
        yield f"again: {ended.status}: {ended.said.strip()[-300:]}"
    elif digests(out) != wanted:
        yield "again: other bytes"
    left = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]
    kept = re.compile(
        r"(params\.yaml|scratch/(locks/.*|digests\.json|params\.json)|(out|runs|results)/.*)$"
    )
    for name in left:
        hidden = any(part.startswith(".") for part in name.split("/"))
        folder_of_ours = (folder / name).is_dir() and not hidden
        if not folder_of_ours and (hidden or not kept.match(name)):
            yield f"left behind: {name}"


def table(results: Sequence[dict[str, Any]]) -> str:
    """A line per stage."""
    heads = ["stage", "calls", "points", "runs", "missed", "failures"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for result in results:
        numbers = [result[name] for name in heads[1:-1]] + [len(result["failures"])]
        lines.append(f"| {result['stage']} | {' | '.join(map(str, numbers))} |")
        lines += [f"  {failure}" for failure in result["failures"]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
