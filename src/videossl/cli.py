"""The command line: one verb per stage, and a few to look after a study.

Both engines call the same verbs. A stage verb checks all of ``params.yaml``, hands the stage its
declared subset, and publishes its output folder by one rename.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videossl import __version__
from videossl.job import Stopped, UserError
from videossl.study import failures

if TYPE_CHECKING:
    from videossl.study.graph import Graph
    from videossl.study.stages import Instance

ABOUT = "One declarative, cached pipeline for self-supervised video representation learning."
EXIT_FAILED = 1
EXIT_USER = 2
EXIT_AGAIN = failures.AGAIN


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _prefer_workspace(argv)
    args = _parser().parse_args(argv)
    try:
        code = int(args.call(args) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # as of `videossl check | head`: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except UserError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return EXIT_USER
    except Stopped as error:
        print(f"stopped: {error}", file=sys.stderr)
        return EXIT_AGAIN
    except failures.Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (MemoryError, ImportError) as error:
        if not _no_memory(error):
            raise
        print(f"error: there is not enough memory: {error}; give it more", file=sys.stderr)
        return EXIT_FAILED


def _no_memory(error: Exception) -> bool:
    """Whether there was too little memory; libraries that cannot be loaded say so in words."""
    words = ("failed to map segment", "cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _prefer_workspace(argv: list[str]) -> None:
    """Run the code of the study's own folder when that is not the code imported here.

    ``dvc exp run --temp`` and git worktrees check the study out elsewhere; an installed console
    script would silently run the original's code on the copy's parameters.
    """
    here = Path.cwd() / "src" / "videossl" / "cli.py"
    if here.is_file() and not here.samefile(__file__):
        source = str(here.parents[1])
        from videossl.machine import first_on_path

        command = [sys.executable, "-m", "videossl", *argv]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": first_on_path(source)})


def _parser() -> argparse.ArgumentParser:
    from videossl.study.stages import LOOPED, STAGES

    parser = argparse.ArgumentParser(prog="videossl", description=ABOUT)
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    for name, stage in STAGES.items():
        verb = verbs.add_parser(name, help=stage.about, description=stage.about)
        for part in stage.key:
            if part in LOOPED:
                verb.add_argument(f"--{part}", metavar="N", help=f"which {part}; with --tree all")
            elif part == "protocol":
                verb.add_argument("protocol", nargs="?", help="one of the test; with --tree all")
            else:
                verb.add_argument(part, help=f"a {part} of params.yaml")
        for role in stage.needs:
            verb.add_argument(
                f"--{role}", type=Path, nargs="+", metavar="DIR", help=f"output that is its {role}"
            )
        place = verb.add_mutually_exclusive_group(required=True)
        place.add_argument("--out", type=Path, help="folder to make")
        place.add_argument(
            "--tree", type=Path, metavar="DIR", help="make all seeds and splits in DVC's tree"
        )
        verb.add_argument("--runs", type=Path, metavar="DIR", help="find inputs in this tree")
        verb.add_argument("--expect", metavar="FINGERPRINT", help="refuse if it is another by now")
        verb.add_argument("--attempt", type=int, default=1, metavar="N", help=argparse.SUPPRESS)
        verb.add_argument("--threads", type=int, help="CPU threads; default: all this process has")
        verb.set_defaults(call=_stage, stage=name)

    def add(name: str, about: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=about, description=about)
        verb.set_defaults(call=globals()[f"_{name}"])
        return verb

    add("check", "check params.yaml and show what would run, or check a dataset").add_argument(
        "dataset", nargs="?", help="an entry of data: is its tree complete? decodes nothing"
    )
    stored = add("shards", "look into a folder of clip shards")
    actions = stored.add_subparsers(metavar="ACTION", required=True)
    for name, about in (
        ("verify", "check every checksum and decode every frame"),
        ("list", "the stored and the rejected videos, a line each"),
        ("show", "write a contact sheet of a video"),
    ):
        action = actions.add_parser(name, help=about, description=about)
        action.add_argument("folder", type=Path, help="output of decode or motion")
        action.set_defaults(action=name)
        if name == "show":
            action.add_argument("video", help="its name, as `list` gives it")
            action.add_argument("--out", type=Path, default=Path("sheet.png"), help="PNG to write")
    doctor = add("doctor", "what this machine is, how fast it trains, how long the study takes")
    doctor.add_argument(
        "--study", action="store_true", help="instead: clips and disk, before anything is decoded"
    )
    doctor.add_argument(
        "--clips-per-second", type=float, metavar="N", help="with --study: of one GPU, for hours"
    )
    add("plan", "write what dvc.yaml cannot name: code digests, values, contents").add_argument(
        "--tree", type=Path, required=True, metavar="DIR"
    )
    add("schema", "print the JSON schema of params.yaml, for editors")
    add("configure", "lay an overlay over params.yaml, keeping its comments").add_argument(
        "overlay", type=Path, help="e.g. configs/tiny.yaml"
    )
    status = add("status", "what is done, runs, failed and waits, by either engine, anywhere")
    status.add_argument(
        "--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help="show it every 2 s"
    )
    compared = add("compare", "which parameters two studies differ in, which numbers moved")
    what = "folder of a study or report, git revision, experiment, workspace"
    compared.add_argument("first", metavar="A", help=what)
    compared.add_argument("second", metavar="B", help="the same")
    compared.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown, too")
    compared.add_argument("--html", type=Path, metavar="FILE", help="write a page, too")
    again = add("metrics", "compute all metrics again from stored predictions, with intervals")
    again.add_argument(
        "--samples", type=int, default=1000, metavar="N", help="of the bootstrap; default: 1000"
    )
    again.add_argument("--csv", type=Path, metavar="FILE", help="write the table there, too")
    stored_runs = add("runs", "list what is stored under runs/")
    stored_runs.add_argument("--root", type=Path, default="runs")
    stored_runs.add_argument(
        "--verify", action="store_true", help="read every stored byte: is it what was written?"
    )
    prune = add("prune", "remove what no study needs: outputs, and what killed processes left")
    prune.add_argument("--root", type=Path, default="runs")
    prune.add_argument("--results", type=Path, default="results")
    prune.add_argument("--keep", type=Path, nargs="*", default=[], help="overlays of other studies")
    prune.add_argument("--yes", action="store_true", help="remove; without it only list")
    adopt = add("adopt", "link Snakemake's finished results that fit into DVC's tree")
    adopt.add_argument("--runs", type=Path, default="runs")
    adopt.add_argument("--results", type=Path, default="results")
    return parser


def _stage(args: argparse.Namespace) -> None:
    from videossl.study import execution, grouped, launch
    from videossl.study import graph as stages
    from videossl.study.stages import LOOPED, STAGES

    graph = stages.load()
    key = STAGES[args.stage].key
    if args.tree is not None:
        named = [name for name in key if name not in LOOPED and name != "protocol"]
        group = grouped.group_of(args.stage, [getattr(args, name) for name in named])

        def run(node: Instance, inputs: Mapping[str, Sequence[Path]], out: Path) -> None:
            launch.run(graph, node, inputs, out, args.expect, args.threads)

        alone = [node for node in graph.groups.get(group, []) if graph.nodes(node) == 1]
        count = max(map(graph.gpus, alone), default=0)
        with launch.claimed(count):  # for all of them: CUDA is started once in a process
            grouped.run_group(graph, group, args.tree, run)
        return
    absent = [name for name in key if getattr(args, name) is None]
    if absent:
        raise UserError(f"{args.stage}: needs {', '.join(absent)}; or --tree, for all")
    node = graph.find(args.stage, {name: getattr(args, name) for name in key})
    given = {role: getattr(args, role) for role in STAGES[args.stage].needs}
    inputs = {role: paths for role, paths in given.items() if paths}
    if args.runs is not None:
        inputs = {**execution.inputs_below(graph, node, args.runs), **inputs}
    needs = graph.needs(node)
    missing = [f"--{role}" for role, nodes in needs.items() if nodes and not inputs.get(role)]
    if missing:
        raise UserError(f"{node}: needs {', '.join(missing)}")
    inputs = {role: inputs.get(role, []) for role in needs}
    launch.run(graph, node, inputs, args.out, args.expect, args.threads, args.attempt)


def _check(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages

    graph = stages.load()
    if args.dataset is not None:
        _check_dataset(graph, args.dataset)
        return
    for node in graph.instances:
        print(f"{graph.fingerprint(node)}  {node}")


def _check_dataset(graph: Graph, name: str) -> None:
    """What can be known of a dataset without decoding it, then what the study asks of it in vain.

    Raises:
        UserError: the lists are bad, or a stage would refuse the dataset; a line each.
    """
    from videossl import uses
    from videossl.data.datasets import check, prepare
    from videossl.study import grouped, records
    from videossl.study.schema import SyntheticData
    from videossl.study.stages import instance

    data = graph.params.data
    if name not in data:
        raise UserError(f"data.{name}: not in params.yaml; it has: {', '.join(data)}")
    dataset = data[name]
    if isinstance(dataset, SyntheticData):
        print(check.check(name, dataset))
        return
    index = check.read(dataset)
    earlier = grouped.made(graph, instance("prepare", name))
    if earlier is not None:
        records.check(earlier)
    listed = prepare.read(earlier, Path(dataset.root)) if earlier else None
    print(check.report(name, dataset, index, listed))
    print("\n".join(uses.lengths(graph.params, name, index)))
    if problems := uses.problems(graph.params, name, index):
        raise UserError("\n".join(problems))


def _shards(args: argparse.Namespace) -> None:
    from videossl.data.shards import inspection
    from videossl.study import disk

    if args.action == "show":
        with disk.explained(args.out):
            print(inspection.show(args.folder, args.video, args.out))
    else:
        print({"verify": inspection.verify, "list": inspection.listing}[args.action](args.folder))


def _doctor(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages

    graph = stages.load()
    rate = args.clips_per_second
    if rate is not None and not (args.study and rate > 0):
        raise UserError("--clips-per-second: is for doctor --study, and must be above 0")
    if args.study:
        from videossl import estimate

        print("\n".join(estimate.report(graph.params, rate)))
        return
    from videossl import doctor  # torch: after params.yaml was found to be right

    for line in doctor.report(graph):
        print(line, flush=True)


def _plan(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages
    from videossl.study import grouped

    grouped.write_plan(stages.load(), args.tree)


def _schema(_: argparse.Namespace) -> None:
    from videossl.study import json_schema

    print(json_schema.text(), end="")


def _configure(args: argparse.Namespace) -> None:
    from videossl.study import disk, overlay

    with disk.explained(args.overlay):
        overlay.configure(args.overlay)


def _status(args: argparse.Namespace) -> None:
    from videossl.study import status

    status.report(args.watch)


def _compare(args: argparse.Namespace) -> None:
    from videossl import revisions
    from videossl.report import compare

    with revisions.report(args.first) as a, revisions.report(args.second) as b:
        found = compare.compare(a.folder, b.folder, (a.name, b.name))
    print(compare.text(found))
    for path, shown in ((args.markdown, compare.markdown), (args.html, compare.page)):
        if path is not None:
            _write(path, shown(found))


def _write(path: Path, text: str) -> None:
    from videossl.study import disk

    with disk.explained(path):
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _metrics(args: argparse.Namespace) -> int:
    from videossl import remeasure
    from videossl.study import graph as stages

    if args.samples < 1:
        raise UserError(f"--samples {args.samples}: must be at least 1")
    text, csv, agrees = remeasure.report(stages.load(), args.samples)
    print(text, flush=True)
    if args.csv is not None:
        _write(args.csv, csv)
    return 0 if agrees else EXIT_USER


def _runs(args: argparse.Namespace) -> int:
    from videossl.study import graph as stages
    from videossl.study import stored_runs

    if args.verify:
        text, whole = stored_runs.verify(args.root)
        print(text)
        return 0 if whole else EXIT_USER
    print(stored_runs.table(stages.load(), args.root))
    return 0


def _prune(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages
    from videossl.study import stored_runs

    print(stored_runs.prune(stages.load(), args.root, args.results, args.keep, args.yes))


def _adopt(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages
    from videossl.study import stored_runs

    print(stored_runs.adopt(stages.load(), args.runs, args.results))


if __name__ == "__main__":
    sys.exit(main())
