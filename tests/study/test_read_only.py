"""A folder that is read-only is named in one line, or it is not missed; nothing is lost.

Permissions do not hold for a superuser, so folders are mounted read-only, in a namespace of the
command's own.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.study import Study
from videossl.job import UserError
from videossl.study import graph, records, writable
from videossl.study.stages import instance

LOCKED = """
for folder in $READ_ONLY; do
  mount --bind "$folder" "$folder" && mount -o remount,ro,bind "$folder" || exit 99
done
cd "$PWD" && exec "$@"  # from here on the folder is what is mounted
"""
NAMESPACE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
TEST, KNN = "synthetic", ("rspnet", "synthetic", "knn", "--seed", "0", "--split", "1")
REASON = "Read-only file system"


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where nothing can be mounted."""
    folder = tmp_path / "locked"
    folder.mkdir()
    words = [*NAMESPACE, "sh", "-c", LOCKED, "sh", "touch", str(folder / "file")]
    env = {**os.environ, "READ_ONLY": str(folder)}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if REASON not in done.stderr:
        pytest.skip(f"no folder can be mounted read-only here: {done.stderr.strip()}")


def run(
    study: Study, *words: str, **env: str | list[str | Path]
) -> subprocess.CompletedProcess[str]:
    """Run a command; ``READ_ONLY`` are the folders that are."""
    folders = " ".join(map(str, env.pop("READ_ONLY")))
    own = [f"{name}={value}" for name, value in {**env, "READ_ONLY": folders}.items()]
    return study.run("env", *own, *NAMESPACE, "sh", "-c", LOCKED, "sh", *words, check=False)


def stored(study: Study) -> dict[str, bytes]:
    """Path -> bytes of what both engines keep."""
    trees = (study.root / "runs", study.root / ".dvc/cache")
    paths = [path for tree in trees for path in tree.rglob("*") if path.is_file()]
    return {str(path.relative_to(study.root)): path.read_bytes() for path in paths}


def output(study: Study, *key: str) -> Path:
    """The folder of an instance's output, relative to the study."""
    planned = graph.load(study.root / "params.yaml")
    return Path("runs") / planned.path(instance(*key))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["scratch", "out"])
def test_a_stage_names_what_it_cannot_write(tiny: Study, locked, folder):
    (tiny.root / "out").mkdir()
    before = stored(tiny)
    words = ("videossl", "evaluate", *KNN, "--runs", "runs", "--out", "out/knn")
    done = run(tiny, *words, READ_ONLY=[folder])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {folder}/")
    assert REASON in done.stderr
    assert not list((tiny.root / "out").iterdir())
    assert stored(tiny) == before
    tiny.run(*words)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["TMPDIR", "HOME"])
def test_the_page_is_made_without(tiny: Study, locked, tmp_path, place):
    folder = tmp_path / place.lower()
    folder.mkdir()
    words = ("videossl", "aggregate", "--runs", "runs", "--out", "out/page")
    done = run(tiny, *words, READ_ONLY=[folder], **{place: str(folder)})
    assert done.returncode == 0, done.stderr
    whole = records.read(tiny.root / output(tiny, "aggregate"))["files"]
    assert records.read(tiny.root / "out/page")["files"] == whole


@pytest.mark.slow
def test_stages_write_nothing_beside_what_they_read(tiny: Study, locked):
    """The dataset's folder, the store of clips, and all other outputs."""
    videos = output(tiny, "prepare", TEST)
    for words, made in (
        (("decode", TEST, "--videos", str(videos)), output(tiny, "decode", TEST)),
        (
            ("embed", "rspnet", TEST, "--seed", "0", "--runs", "runs"),
            output(tiny, "embed", "rspnet", TEST, "0"),
        ),
    ):
        out = Path("out", words[0])
        done = run(tiny, "videossl", *words, "--out", str(out), READ_ONLY=["runs"])
        assert done.returncode == 0, done.stderr
        whole = records.read(tiny.root / made)["files"]
        assert records.read(tiny.root / out)["files"] == whole


@pytest.mark.slow
def test_what_only_looks_needs_to_write_nothing(tiny: Study, locked):
    for words in (
        ("check",),
        ("status",),
        ("runs", "--verify"),
        ("metrics", "--samples", "2"),
        ("compare", ".", "."),
    ):
        done = run(tiny, "videossl", *words, READ_ONLY=["."])
        assert (done.returncode, done.stderr) == (0, ""), words
    (tiny.root / "overlay.yaml").write_text("report:\n  decimals: 2\n")
    video = json.loads((tiny.root / output(tiny, "decode", TEST) / "manifest.json").read_text())
    shards, name = str(output(tiny, "decode", TEST)), video["videos"][0]["name"]
    for words, file in (
        (("plan", "--tree", "results"), "scratch/locks/"),
        (("adopt",), "scratch/locks/"),
        (("configure", "overlay.yaml"), ".params.yaml.part"),
        (("metrics", "--samples", "2", "--csv", "again.csv"), "again.csv"),
        (("compare", ".", ".", "--html", "page.html"), "page.html"),
        (("shards", "show", shards, name, "--out", "sheet.png"), "sheet.png"),
    ):
        done = run(tiny, "videossl", *words, READ_ONLY=["."])
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith(f"error: {file}")
        assert REASON in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["runs/evaluate", "runs/aggregate", "scratch", "logs", ".snakemake"]
)
def test_snakemake_names_the_folder(tiny: Study, locked, folder):
    for name in ("logs", ".snakemake/log", ".snakemake/locks"):
        (tiny.root / name).mkdir(parents=True, exist_ok=True)
    tiny.edit("neighbours: 20", "neighbours: 3")
    before = stored(tiny)
    done = run(tiny, "snakemake", "--cores", "1", READ_ONLY=[folder])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [x for x in done.stderr.splitlines() if "make it writable" in x]
    assert line.startswith(folder)
    assert "read-only file system" in line
    assert stored(tiny) == before


@pytest.mark.slow
def test_snakemake_runs_without_a_home_but_with_a_cache(tiny: Study, locked, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(tiny, "snakemake", "--cores", "1", READ_ONLY=[home], **own)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".dvc/cache", "results"])
def test_dvc_names_the_folder(tiny: Study, locked, folder):
    tiny.edit("neighbours: 20", "neighbours: 3")
    before = stored(tiny)
    words = ("dvc", "repro", "evaluate@rspnet-synthetic")
    done = run(tiny, *words, READ_ONLY=[folder])
    assert done.returncode
    (line,) = [x for x in done.stderr.splitlines() if REASON in x]
    assert f"{tiny.root}/{folder}/" in line
    assert stored(tiny).items() >= before.items()
    tiny.run(*words)


def test_what_is_there_need_not_be_writable(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = graph.load()
    locked = Path("runs")
    monkeypatch.setattr(
        os, "access", lambda place, mode: locked not in (place, *Path(place).parents)
    )
    locked.mkdir()
    with pytest.raises(UserError, match=r"^runs: this user may not write there; make it writable"):
        writable.check(planned)
    for node in planned.instances:
        (locked / planned.path(node)).mkdir(parents=True)
    writable.check(planned)
