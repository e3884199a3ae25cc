"""A copy of the project in a git repository of its own, where engines may run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from support import preloaded_stages
from videossl.study.registry import METHODS

ROOT = Path(__file__).resolve().parents[2]
FEW = ("rspnet", "rho_moco")
STUDY = (
    *(".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "Snakefile", "dvc.yaml"),
    *("params.yaml", "workflow", "slurm", "src", "configs"),
)


class Study:
    """A copy of the project in a repository of its own, where engines may run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        binaries = Path(sys.executable).parent
        self.env = {
            **os.environ,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": f"tester{'@example.org' if what == 'EMAIL' else ''}"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }

    @contextmanager
    def preloaded(self, server: Path) -> Iterator[None]:
        """In the block stages are forks of ``preloaded_stages.server``, whose socket is given."""
        before = self.env
        path = f"{preloaded_stages.COMMAND.parent}{os.pathsep}{before['PATH']}"
        self.env = {**before, preloaded_stages.SOCKET: str(server), "PATH": path}
        try:
            yield
        finally:
            self.env = before

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the study's folder."""
        done = subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def edit(self, old: str, new: str, file: str = "params.yaml") -> None:
        """Replace a text that must occur once."""
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} of {old!r}"
        path.write_text(text.replace(old, new))

    def overlay(self, text: str) -> None:
        """Lay YAML text over params.yaml."""
        path = self.root / "overlay.yaml"
        path.write_text(text)
        self.run("videossl", "configure", path.name)
        path.unlink()

    def shrink(self, methods: Collection[str] = FEW) -> None:
        """Make the study tiny, with some methods only: what is tested is not how many there are."""
        self.run("videossl", "configure", "configs/tiny.yaml")
        others = [name for name in METHODS if name not in methods]
        if others:
            self.overlay("methods:\n" + "".join(f"  {name}: null\n" for name in others))

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


def copy_study(target: Path) -> Study:
    """The project's files at ``target``, as a git repository with one commit."""
    target.mkdir(parents=True)
    for name in STUDY:
        source, copy = ROOT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            copy.symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(
                source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(source, copy)
    study = Study(target)
    study.run("git", "init", "-qb", "main")
    study.commit("start")
    return study
