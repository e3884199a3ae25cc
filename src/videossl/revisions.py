"""Reports of a study's git revisions and DVC experiments, for ``videossl compare``.

A report is looked for where either engine leaves it. DVC names it in the revision's ``dvc.lock``,
and its files are in DVC's cache; Snakemake keeps it under ``runs/``, by the fingerprint that the
revision's own code gives to the revision's own ``params.yaml``. Nothing is checked out, computed or
fetched.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videossl.job import UserError
from videossl.report import compare, kept
from videossl.report.inputs import read_json
from videossl.study import params

WORKSPACE = "workspace"  # DVC's word for the folder as it is
OUTPUT = "results/aggregate"
FILES = ("stage.json", "results.csv", kept.PARAMS, kept.EXAMPLES)
# The present code, which gives way to code that the folder holds.
CHECK = """
import sys
sys.path.insert(0, sys.argv.pop())
from videossl import cli
sys.exit(cli.main(["check"]))
"""
HERE = (".git", ".dvc", "runs", "results", "scratch", "logs")  # never seen by another revision


@dataclass(frozen=True)
class Report:
    """A report's folder, and how a reader calls it."""

    name: str
    folder: Path


@contextmanager
def report(word: str, study: Path = Path()) -> Iterator[Report]:
    """The report that a user means: of a folder, a git revision, an experiment or ``workspace``.

    A folder that holds a report goes before a revision of the same name. What comes from DVC's
    cache lies in a temporary folder while the block runs.

    Raises:
        UserError: it is none of these, or its report is not there: one line, with what brings it.
    """
    place = Path(word)
    if word == WORKSPACE and not place.exists():
        yield _of_workspace(study)
        return
    try:
        yield Report(word, compare.report_of(place))
        return
    except UserError:
        commit = _commit(word, study)
        if commit is None and place.is_dir():
            raise
    if commit is None:
        raise UserError(
            f"{word}: no folder, git revision or experiment of that name; `git log --oneline` and "
            "`dvc exp show` list them"
        )
    with tempfile.TemporaryDirectory(prefix="videossl-") as temporary:
        yield _of_revision(word, commit, study, Path(temporary))


def _of_workspace(study: Path) -> Report:
    """The report in the study's folder that the present ``params.yaml`` made.

    Raises:
        UserError: there is none.
    """
    raw = params.leaves(params.read(study / params.DEFAULT))
    places = [study / below for below in compare.PLACES[1:]]
    there = [place for place in places if (place / "results.csv").is_file()]
    for place in there:
        if _other_key(place, raw) is None:
            return Report(WORKSPACE, place)
    stale = f" ({there[0]} was made with another {_other_key(there[0], raw)})" if there else ""
    raise UserError(
        f"{WORKSPACE}: holds no report of the present params.yaml{stale}; run `snakemake` or "
        "`dvc repro`"
    )


def _other_key(folder: Path, raw: dict[str, Any]) -> str | None:
    """A key that a report was made with and that has another value now; None if all agree."""
    made = read_json(folder / kept.PARAMS) | read_json(folder / "stage.json").get("params", {})
    return next((key for key, value in sorted(made.items()) if raw.get(key) != value), None)


# ------------------------------------------------------------------ git


def _git(study: Path, *words: str) -> bytes | None:
    """What git says; None where it has nothing to say, or there is no git."""
    try:
        done = subprocess.run(["git", *words], cwd=study, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _commit(word: str, study: Path) -> str | None:
    """The commit that a revision or an experiment is.

    Raises:
        UserError: several experiments have that name.
    """
    found = _git(
        study, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}"
    )
    if found is not None:
        return found.decode().strip()
    every = _git(study, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/*/*/*")
    lines = [line.split(" ", 1) for line in (every or b"").decode().splitlines()]
    named = {commit for commit, name in lines if name.rpartition("/")[2] == word}
    if len(named) > 1:
        shown = ", ".join(sorted(commit[:7] for commit in named))
        raise UserError(f"{word}: several experiments have that name; say which: {shown}")
    return next(iter(named), None)


# ------------------------------------------------------------------ where its report is


def _of_revision(word: str, commit: str, study: Path, temporary: Path) -> Report:
    name = word if commit.startswith(word) else f"{word} ({commit[:7]})"
    text = _git(study, "show", f"{commit}:./{params.DEFAULT}")
    if text is None:
        raise UserError(f"{name}: has no {params.DEFAULT} of this folder, so it is no study")
    raw = params.leaves(params.parse(text.decode("utf-8", "replace"), f"{name}: params.yaml"))
    cached = _from_cache(commit, study, temporary / "report")
    other = None if cached is None else _other_key(cached, raw)
    if cached is not None and other is None:
        return Report(name, cached)
    fingerprint = _fingerprint(name, commit, study, temporary / "study")
    stored = Path("runs", "aggregate", fingerprint)
    if (study / stored / "results.csv").is_file():
        return Report(name, study / stored)
    why = "is not in DVC's cache"
    if other is not None:
        why = f"in its dvc.lock was made with another {other} than its params.yaml has"
    raise UserError(
        f"{name}: its report {why}, and {stored} is not there; `dvc fetch --all-commits aggregate` "
        "or `dvc exp pull` brings what was pushed, `dvc repro` or `snakemake` in a checkout of it "
        "makes it"
    )


def _from_cache(commit: str, study: Path, target: Path) -> Path | None:
    """What of the report that the revision's ``dvc.lock`` names is compared, copied to ``target``.

    None where the lock names none, or DVC's cache has not all of them.
    """
    text = _git(study, "show", f"{commit}:./dvc.lock")
    if text is None:
        return None
    lock = params.parse(text.decode("utf-8", "replace"), f"{commit[:7]}: dvc.lock")
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", ())]
    digest = next((out.get("md5") for out in outs if out.get("path") == OUTPUT), None)
    if digest is None:
        return None
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    try:
        with Repo(str(study)) as repo:
            cache = repo.cache.local
            tree: Any = Tree.load(cache, HashInfo("md5", digest))
            digests = {"/".join(key): info.value for key, (_, info) in tree.iteritems()}
            places = {n: Path(cache.oid_to_path(digests[n])) for n in FILES if n in digests}
    except (NotDvcRepoError, FileNotFoundError, ObjectFormatError):
        return None
    target.mkdir()
    for name in FILES:
        if name not in places or not places[name].is_file():
            return None
        shutil.copyfile(places[name], target / name)
    return target


def _fingerprint(name: str, commit: str, study: Path, target: Path) -> str:
    """What the revision's own code says of its report; its files are unpacked to ``target``.

    What git does not track, such as weights that a parameter names, is the present one.

    Raises:
        UserError: its ``params.yaml`` is invalid.
    """
    archive = _git(study, "archive", "--format=tar", commit)
    assert archive is not None, "it has a params.yaml"
    target.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(target, filter="tar")
    for one in study.resolve().iterdir():
        if one.name not in HERE and not os.path.lexists(target / one.name):
            (target / one.name).symlink_to(one)
    source = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", CHECK, source],
        cwd=target,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    found = [line[0] for line in lines if line[1:] == ["aggregate"]]
    if done.returncode or not found:
        said = done.stderr.strip().splitlines()
        raise UserError(f"{name}: cannot be checked: {said[-1] if said else 'no report in it'}")
    return found[0]
