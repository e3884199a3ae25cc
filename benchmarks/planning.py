"""CPU seconds and memory of a command that finds everything done, and of planning all of a study.

    python benchmarks/planning.py            # a line per engine and size; takes ten minutes
    python benchmarks/planning.py --sizes default --json benchmarks/results/planning.json

Outputs are stand-ins: a folder with a small file per instance, as no engine looks further when
nothing changed. Nothing is trained. The large study is the default one with more seeds and splits.
``stages of one key`` is what DVC takes for itself: as many stages, each with one key of the same
params.yaml, one file and nothing to depend on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import figures_file

from videossl.job import write_json
from videossl.study import graph as stages
from videossl.study import grouped, publication, records
from videossl.study.graph import Graph

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    ".gitignore",
    "Snakefile",
    "dvc.yaml",
    "params.yaml",
    ".dvc",
    ".dvcignore",
    "workflow",
    "src",
    "slurm",
)
SIZES = ["default", "large"]
LARGE = """
seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
finetune: {synthetic: {splits: [1, 2, 3]}}
probe: {synthetic: {splits: [1, 2, 3]}}
"""


def copy(target: Path) -> None:
    """The project at ``target``, as a repository of its own."""
    target.mkdir()
    for name in FILES:
        source = ROOT / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("cache", "tmp"))
        else:
            shutil.copy(source, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)


def stand_ins(graph: Graph, study: Path) -> None:
    """What both engines would have made, without its content."""
    for node in graph.instances:
        folder = study / "runs" / graph.path(node)
        folder.mkdir(parents=True)
        (folder / publication.RECORD).write_text("{}")
    for group in [*graph.groups, *grouped.unneeded(graph)]:
        folder = study / "results" / group.path
        folder.mkdir(parents=True)
        (folder / "file").write_text(str(group))
        write_json(folder / publication.CONTENTS, records.digests(folder))


def bare(study: Path, count: int) -> None:
    """A DVC project at ``study`` of ``count`` stages, all done, that need next to nothing."""
    study.mkdir()
    shutil.copy(ROOT / "params.yaml", study)
    shutil.copytree(ROOT / ".dvc", study / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    entries = {
        f"stage-{number}": {
            "cmd": f"echo {number} > {number}",
            "params": ["seeds"],
            "outs": [str(number)],
        }
        for number in range(count)
    }
    write_json(study / "dvc.yaml", {"stages": entries})  # JSON is YAML
    for command in (["git", "init", "-q"], ["dvc", "repro", "-q"]):
        subprocess.run(command, cwd=study, check=True)


def measured(command: list[str], study: Path) -> tuple[float, float]:
    """CPU seconds of a command and what it started; peak MiB of the largest process."""
    script = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)\n"
        "sys.exit(done.stdout + done.stderr if done.returncode else 0)\n"
    )
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=study, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def of_size(size: str, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """What commands take in the default study, or the large one, at ``folder``."""
    study = folder / "study"
    copy(study)
    if size == "large":
        (study / "large.yaml").write_text(LARGE)
        subprocess.run(["videossl", "configure", "large.yaml"], cwd=study, check=True)
    os.chdir(study)
    graph = stages.load()
    instances, groups = len(graph.instances), len(graph.groups)
    noop, nothing = ["snakemake", "--cores", "all", "--quiet"], ["dvc", "repro", "-q"]

    def line(name: str, command: list[str], count: int, where: Path = study) -> dict[str, Any]:
        taken = [measured(command, where) for _ in range(repeats)]
        seconds = [used for used, _ in taken]
        peak = max(peak for _, peak in taken)
        return {"command": name, "instances": count, "seconds": seconds, "peak": peak}

    found = [line("snakemake, planning all", [*noop, "--dry-run"], instances)]
    stand_ins(graph, study)
    found.append(line("snakemake, nothing to do", noop, instances))
    grouped.write_plan(graph, Path("results"))
    subprocess.run(["dvc", "commit", "-f", "-q"], cwd=study, check=True)
    found.append(line("dvc repro, nothing to do", nothing, groups))
    alone = folder / "bare"
    bare(alone, groups)
    found.append(line("dvc repro, stages of one key", nothing, groups, alone))
    os.chdir(ROOT)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """A line per command and size."""
    lines = ["| command | instances or stages | CPU s, least | CPU s, most | peak MiB |"]
    lines.append("|---|---:|---:|---:|---:|")
    for one in found:
        seconds = f"{min(one['seconds']):.1f} | {max(one['seconds']):.1f}"
        lines.append(f"| {one['command']} | {one['instances']:,} | {seconds} | {one['peak']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=SIZES)
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    found = []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found += of_size(size, args.repeats, Path(folder))
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
