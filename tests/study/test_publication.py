"""Outputs are whole or absent, and only what was made here is ever replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from videossl import durable
from videossl.job import UserError
from videossl.study import publication


def finished(folder: Path, text: str) -> Path:
    part = publication.begin(folder)
    (part / "data.txt").write_text(text)
    (part / publication.RECORD).write_text("{}")
    return part


def test_a_folder_appears_and_is_replaced(tmp_path):
    out = tmp_path / "a" / "out"
    publication.publish(finished(out, "one"), out)
    assert (out / "data.txt").read_text() == "one"
    publication.publish(finished(out, "two"), out)
    assert (out / "data.txt").read_text() == "two"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_it_is_replaced_where_the_system_cannot_exchange(tmp_path, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr(publication, "_exchange", lambda first, second: False)
    out = tmp_path / "out"
    for text in ("one", "two", "three"):
        publication.publish(finished(out, text), out)
        assert (out / "data.txt").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_one_whole_version_is_there_at_every_moment(tmp_path):
    """A reader never finds the output absent or mixed while it is replaced again and again."""
    out = tmp_path / "out"
    publication.publish(finished(out, "0"), out)
    script = (
        "import sys; from pathlib import Path; from videossl.study import publication as p\n"
        "out = Path(sys.argv[1])\n"
        "for k in range(200):\n"
        "    part = p.begin(out); (part / 'data.txt').write_text(str(k))\n"
        "    (part / p.RECORD).write_text('{}'); p.publish(part, out)\n"
    )
    seen = 0
    with subprocess.Popen([sys.executable, "-c", script, str(out)]) as writer:
        while writer.poll() is None:
            folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)  # there, always
            os.close(folder)
            seen += 1
    assert writer.returncode == 0
    assert seen > 10


@pytest.mark.parametrize("foreign", ["a file in it", "a file", "a link"])
def test_what_was_not_made_here_stays(tmp_path, foreign):
    out = tmp_path / "precious"
    if foreign == "a file in it":
        out.mkdir()
        (out / "photo.jpg").write_text("x")
    elif foreign == "a file":
        out.write_text("x")
    else:
        (tmp_path / "real").mkdir()
        out.symlink_to(tmp_path / "real")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"precious: is there and .*will not be replaced"):
        publication.begin(out)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_nobodys(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    publication.publish(finished(out, "one"), out)
    assert (out / "data.txt").read_text() == "one"


def test_what_killed_processes_left_goes(tmp_path):
    out = tmp_path / "out"
    for name in (".out.123.part", ".out.77.old", ".other.123.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    publication.publish(finished(out, "one"), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.123.part", "out"]


def test_everything_is_synced_before_the_rename(tmp_path, monkeypatch):
    """Files, then folders, then the rename, then the parent: what a loss of power leaves whole."""
    out = tmp_path / "out"
    part = finished(out, "one")
    (part / "sub").mkdir()
    (part / "sub" / "more").write_text("x")
    log: list[str] = []
    real, rename = durable._sync, Path.rename

    def sync(path: Path, flags: int) -> None:
        log.append(f"sync {path.relative_to(tmp_path)}")
        real(path, flags)

    def renamed(self: Path, target: Path) -> Path:
        log.append("rename")
        return rename(self, target)

    monkeypatch.setattr(durable, "_sync", sync)
    monkeypatch.setattr(Path, "rename", renamed)
    publication.publish(part, out)
    name = part.name
    before = log[: log.index("rename")]
    files = {f"sync {name}/data.txt", f"sync {name}/stage.json", f"sync {name}/sub/more"}
    assert set(before) == {*files, f"sync {name}/sub", f"sync {name}"}
    assert before[-1] == f"sync {name}"
    assert log[log.index("rename") + 1 :] == ["sync ."]


def test_a_killed_writer_leaves_the_old_version(tmp_path):
    out = tmp_path / "out"
    publication.publish(finished(out, "old"), out)
    script = (
        "import sys, time; from pathlib import Path; from videossl.study import publication as p\n"
        "part = p.begin(Path(sys.argv[1])); (part / 'data.txt').write_text('new')\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(out)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        writer.send_signal(signal.SIGKILL)
    assert (out / "data.txt").read_text() == "old"
    assert list(publication.leftovers(out))
    publication.publish(finished(out, "newer"), out)
    assert not list(publication.leftovers(out))
