"""``videossl compare`` of git revisions and experiments: where their reports are found."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from support.fake_study import FakeStudy, method, run, sealed
from videossl import cli, revisions
from videossl.job import UserError
from videossl.report import compare, kept
from videossl.study import params
from videossl.study.graph import Graph

ROOT = Path(__file__).resolve().parents[1]
ME = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
PARAMS = "task:\n  margin: {}\nprobe:\n  synthetic:\n    data: synthetic\n"
STAGE = "stages:\n  aggregate:\n    cmd: 'true'\n    outs: [results/aggregate]\n"


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *ME, *words], cwd=root, capture_output=True, check=True)
    return done.stdout.decode().strip()


def make_report(place: Path, margin: float, share: float) -> Path:
    """A report of one row, made with this margin, of which this share is right."""
    scratch = place.parents[1] / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    fake = FakeStudy(scratch / "study", methods={"rspnet": method("rspnet")})
    fake.root.mkdir(parents=True)
    key = {"row": "rspnet", "seed": "0"}
    fake.stage("pretrain", "encoders", 1.0, key, task__margin=margin)
    hits = (np.arange(100) < share * 100).astype(np.float32)
    fake.evaluation("rspnet", "linear", {"top1": share}, n=100, hits={"top1": hits})
    shutil.rmtree(place, ignore_errors=True)
    run(fake, place)
    sealed(place, {"probe.synthetic.data": "synthetic"})
    shutil.rmtree(scratch)
    return place


def commit(root: Path, margin: float, share: float, lock: bool = True) -> str:
    """Change the margin, run, and commit what DVC then says of the results."""
    (root / "params.yaml").write_text(PARAMS.format(margin))
    make_report(root / "results/aggregate", margin, share)
    if lock:
        with Repo(str(root)) as repo:
            repo.commit(force=True)
    git(root, "add", "-A")
    git(root, "commit", "-qm", f"margin {margin}")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two committed states of a study of DVC's, and an experiment; nothing may change it."""
    root = tmp_path_factory.mktemp("history")
    git(root, "init", "-qb", "main")
    with Repo.init(str(root)):
        pass
    (root / "dvc.yaml").write_text(STAGE)
    (root / ".gitignore").write_text("/results/\n/runs/\n/scratch/\n")
    commit(root, 0.3, 0.6)
    git(root, "update-ref", "refs/exps/ab/cdef/wide-one", "HEAD")
    git(root, "checkout", "-q", "--orphan", "other")
    commit(root, 0.1, 0.4)
    git(root, "branch", "-qD", "main")
    commit(root, 0.2, 0.5)
    git(root, "branch", "-qm", "main")
    return root


@pytest.fixture
def study(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the present folder."""
    shutil.copytree(history, tmp_path / "study", symlinks=True)
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def margin_of(word: str) -> tuple[str, float]:
    """The name and the margin of what a word means."""
    with revisions.report(word) as found:
        return found.name, kept.read(found.folder)[0]["task.margin"]


def test_a_revision_is_found_through_its_lock(study):
    head, before = git(study, "rev-parse", "HEAD"), git(study, "rev-parse", "HEAD~1")
    assert margin_of("HEAD") == (f"HEAD ({head[:7]})", 0.2)
    assert margin_of("HEAD~1") == (f"HEAD~1 ({before[:7]})", 0.1)
    assert margin_of("main") == (f"main ({head[:7]})", 0.2)
    assert margin_of(before[:10]) == (before[:10], 0.1)
    assert not list(study.glob("scratch"))  # nothing is left behind


def test_an_experiment_is_found_by_its_name(study):
    found = git(study, "rev-parse", "refs/exps/ab/cdef/wide-one")
    assert margin_of("wide-one") == (f"wide-one ({found[:7]})", 0.3)
    git(study, "update-ref", "refs/exps/ab/0123/wide-one", "HEAD")
    with pytest.raises(UserError, match="wide-one: several experiments have that name; say which"):
        margin_of("wide-one")


def test_the_verb_says_what_changed_from_one_to_the_other(study, capsys):
    assert cli.main(["compare", "HEAD~1", "workspace"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"A: HEAD~1 ({git(study, 'rev-parse', 'HEAD~1')[:7]})"
    assert said[1] == "B: workspace"
    assert "task.margin  0.1  0.2" in said
    assert any(line.startswith("rspnet") and "40.0  50.0" in line for line in said)


def test_the_workspace_is_what_the_present_parameters_made(study):
    make_report(study / "runs/report", 0.7, 0.9)  # of an earlier run by Snakemake
    assert margin_of("workspace") == ("workspace", 0.2)
    (study / "params.yaml").write_text(PARAMS.format(0.7))
    assert margin_of("workspace") == ("workspace", 0.7)
    (study / "params.yaml").write_text(PARAMS.format(0.8))
    with pytest.raises(UserError, match=r"workspace: holds no report of the present params.yaml "):
        margin_of("workspace")


def test_a_record_without_parameters_is_one_line(study):
    (study / "results/aggregate/stage.json").write_text("{}")
    with pytest.raises(UserError, match=r"aggregate: not a report that can be compared: 'params'"):
        margin_of("workspace")


def test_a_folder_goes_before_a_revision_of_its_name_if_it_holds_a_report(study):
    (study / "main").mkdir()
    assert margin_of("main")[1] == 0.2
    make_report(study / "main/results/aggregate", 0.9, 0.5)
    assert margin_of("main") == ("main", 0.9)
    (study / "empty").mkdir()
    with pytest.raises(UserError, match="empty: found no report; expected the folder of a study"):
        margin_of("empty")


def test_an_unknown_word_is_one_line(study, tmp_path, monkeypatch, capsys):
    assert cli.main(["compare", "HEAD~7", "HEAD"]) == cli.EXIT_USER
    said = capsys.readouterr().err
    assert said.startswith("error: HEAD~7: no folder, git revision or experiment of that name; ")
    assert said.count("\n") == 1
    monkeypatch.chdir(tmp_path)  # no repository
    with pytest.raises(UserError, match="HEAD: no folder, git revision or experiment"):
        margin_of("HEAD")
    with pytest.raises(UserError, match="--all: no folder"):
        margin_of("--all")


def shipped(study: Path, margin: float | None = None) -> Graph:
    """The shipped study in place of the small one."""
    text = (ROOT / "params.yaml").read_text()
    if margin is not None:
        old = next(line for line in text.splitlines() if line.strip().startswith("margin:"))
        text = text.replace(old, f"  margin: {margin}")
    (study / "params.yaml").write_text(text)
    raw = params.parse(text, "params.yaml")
    return Graph(params.validate(raw, "params.yaml"), raw)


def test_what_snakemake_made_is_found_by_its_fingerprint(study):
    paths = []
    for margin in (0.21, 0.22):
        graph = shipped(study, margin)
        git(study, "commit", "-qam", f"margin {margin}")
        paths.append(study / "runs" / graph.path(graph.instances[-1]))
        make_report(paths[-1], margin, 0.5)
    assert margin_of("HEAD")[1] == 0.22  # its dvc.lock is there and older
    assert margin_of("HEAD~1")[1] == 0.21
    shutil.rmtree(paths[0])
    with pytest.raises(UserError) as caught:
        margin_of("HEAD~1")
    assert "in its dvc.lock was made with another" in str(caught.value)
    assert f"{paths[0].relative_to(study)} is not there; `dvc fetch" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", ["all", "examples.npz"])
def test_what_the_cache_has_lost_is_one_line(study, lost):
    shipped(study)
    git(study, "commit", "-qam", "shipped")
    if lost == "all":
        shutil.rmtree(study / ".dvc/cache")
    else:
        for path in (study / ".dvc/cache").rglob("*"):
            if path.is_file() and path.read_bytes()[:2] == b"PK":
                path.unlink()
    with pytest.raises(UserError) as caught:
        margin_of("HEAD")
    assert "its report is not in DVC's cache, and runs/aggregate/" in str(caught.value)
    assert "`dvc repro` or `snakemake` in a checkout of it makes it" in str(caught.value)


def test_a_revision_that_is_no_valid_study_is_one_line(study):
    (study / "params.yaml").write_text("seeds: [0\n")
    git(study, "commit", "-qam", "broken")
    with pytest.raises(UserError, match=r"HEAD \(\w+\): params.yaml: not valid YAML"):
        margin_of("HEAD")
    (study / "params.yaml").write_text("seeds: [0]\n")
    git(study, "commit", "-qam", "no study")
    with pytest.raises(UserError, match=r"HEAD \(\w+\): cannot be checked: error: params.yaml: "):
        margin_of("HEAD")
    git(study, "rm", "-q", "params.yaml")
    git(study, "commit", "-qm", "nothing")
    with pytest.raises(UserError, match=r"has no params.yaml of this folder"):
        margin_of("HEAD")


def test_the_revisions_own_code_says_the_fingerprint(study):
    """A copy of the code lies in the study: another stage's name shows that it was asked."""
    graph = shipped(study)
    shutil.copytree(ROOT / "src", study / "src", ignore=shutil.ignore_patterns("__pycache__"))
    file = study / "src/videossl/report/wording.py"
    file.write_text(file.read_text() + "\nCHANGED = 1\n")
    git(study, "add", "-A")
    git(study, "commit", "-qm", "other code")
    with pytest.raises(UserError) as caught:
        margin_of("HEAD")
    assert "runs/aggregate/" in str(caught.value)
    assert str(graph.path(graph.instances[-1])) not in str(caught.value)


def test_compare_keeps_to_folders_without_names(study):
    found = compare.compare(Path(), study)
    assert found.names == (".", str(study))
