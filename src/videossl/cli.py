"""The command line: one verb per stage, and a few to look after a study.

Both engines call the same verbs. A stage verb checks all of ``params.yaml``, hands the stage its
declared subset, and publishes its output folder by one rename.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from videossl import __version__
from videossl.job import Stopped, UserError

EXIT_USER = 2
EXIT_AGAIN = 75  # EX_TEMPFAIL: stopped from outside, run it again to go on


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _prefer_workspace(argv)
    args = _parser().parse_args(argv)
    try:
        return int(args.call(args) or 0)
    except UserError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return EXIT_USER
    except Stopped as error:
        print(f"stopped: {error}", file=sys.stderr)
        return EXIT_AGAIN


def _prefer_workspace(argv: list[str]) -> None:
    """Run the code of the study's own folder when that is not the code imported here.

    ``dvc exp run --temp`` and git worktrees check the study out elsewhere; an installed console
    script would silently run the original's code on the copy's parameters.
    """
    here = Path.cwd() / "src" / "videossl" / "cli.py"
    if here.is_file() and not here.samefile(__file__):
        source = str(here.parents[1])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "videossl", *argv]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


def _parser() -> argparse.ArgumentParser:
    from videossl.study.graph import STAGES

    parser = argparse.ArgumentParser(prog="videossl", description=__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    for name, stage in STAGES.items():
        verb = verbs.add_parser(name, help=stage.about, description=stage.about)
        for who in stage.who:
            verb.add_argument(who, help=f"a {who} of params.yaml")
        for role in dict.fromkeys((*stage.needs, *EVALUATE_ROLES * (name == "evaluate"))):
            verb.add_argument(
                f"--{role}", type=Path, nargs="+", metavar="DIR", help=f"output that is its {role}"
            )
        verb.add_argument("--out", type=Path, required=True, help="folder to make")
        verb.add_argument("--expect", metavar="FINGERPRINT", help="refuse if it is another by now")
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
    add("doctor", "what this machine is, how fast it trains, how long the study takes")
    add("plan", "write the code digest of every stage, for DVC").add_argument(
        "--out", type=Path, required=True
    )
    add("configure", "lay an overlay over params.yaml, keeping its comments").add_argument(
        "overlay", type=Path, help="e.g. configs/tiny.yaml"
    )
    add("runs", "list what is stored under runs/").add_argument("--root", type=Path, default="runs")
    prune = add("prune", "remove what neither params.yaml nor a named study needs")
    prune.add_argument("--root", type=Path, default="runs")
    prune.add_argument("--keep", type=Path, nargs="*", default=[], help="overlays of other studies")
    prune.add_argument("--yes", action="store_true", help="remove; without it only list")
    adopt = add("adopt", "link Snakemake's finished results that fit into DVC's tree")
    adopt.add_argument("--runs", type=Path, default="runs")
    adopt.add_argument("--results", type=Path, default="results")
    return parser


EVALUATE_ROLES = ("classifier", "features", "shards")


def _stage(args: argparse.Namespace) -> None:
    from videossl.study import execution
    from videossl.study import graph as stages

    graph = stages.load()
    node = graph.find(
        args.stage, {key: getattr(args, key) for key in stages.STAGES[args.stage].who}
    )
    needs = graph.needs(node)
    inputs = {role: getattr(args, role) or [] for role in needs}
    missing = [f"--{role}" for role, nodes in needs.items() if nodes and not inputs[role]]
    if missing:
        raise UserError(f"{node}: needs {', '.join(missing)}")
    if args.stage == "pretrain" and graph.params.pretrain.gpus > 1:
        from videossl.study import launch

        if not launch.launched():
            launch.ranks(graph.params.pretrain.gpus)
            return
    execution.execute(graph, node, inputs, args.out, args.expect, args.threads)


def _check(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages

    graph = stages.load()
    if args.dataset is not None:
        from videossl.data.datasets import check

        data = graph.params.data
        if args.dataset not in data:
            raise UserError(f"data.{args.dataset}: not in params.yaml; it has: {', '.join(data)}")
        print(check.check(args.dataset, data[args.dataset]))
        return
    for node in graph.instances:
        print(f"{graph.fingerprint(node)}  {node}")


def _shards(args: argparse.Namespace) -> None:
    from videossl.data.shards import inspection

    if args.action == "show":
        print(inspection.show(args.folder, args.video, args.out))
    else:
        print({"verify": inspection.verify, "list": inspection.listing}[args.action](args.folder))


def _doctor(_: argparse.Namespace) -> None:
    from videossl.study import graph as stages

    graph = stages.load()
    from videossl import doctor  # torch: after params.yaml was found to be right

    for line in doctor.report(graph):
        print(line, flush=True)


def _plan(args: argparse.Namespace) -> None:
    from videossl.study import execution
    from videossl.study import graph as stages

    execution.write_plan(stages.load(), args.out)


def _configure(args: argparse.Namespace) -> None:
    from videossl.study import overlay

    overlay.configure(args.overlay)


def _runs(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages
    from videossl.study import stored_runs

    print(stored_runs.table(stages.load(), args.root))


def _prune(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages
    from videossl.study import stored_runs

    print(stored_runs.prune(stages.load(), args.root, args.keep, args.yes))


def _adopt(args: argparse.Namespace) -> None:
    from videossl.study import graph as stages
    from videossl.study import stored_runs

    print(stored_runs.adopt(stages.load(), args.runs, args.results))


if __name__ == "__main__":
    sys.exit(main())
