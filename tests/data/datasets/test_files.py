"""Files of a dataset: which may be videos, walks that end, and names that print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.trees import plant
from videossl.data.datasets.files import (
    expand,
    folder_of,
    inside,
    may_be_video,
    names_by_stem,
    printable,
    walk,
)
from videossl.job import UserError


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("~/sets", "/home/someone/sets"),
        ("$SETS/ucf101", "/mnt/sets/ucf101"),
        ("${SETS}/ucf101", "/mnt/sets/ucf101"),
        ("relative/$", "relative/$"),
        ("/a ~/b", "/a ~/b"),
    ],
)
def test_home_and_variables(root: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("SETS", "/mnt/sets")
    assert expand(root) == Path(path)


@pytest.mark.parametrize("root", ["$NO_SUCH_VARIABLE/a", "${NO_SUCH_VARIABLE}/a"])
def test_variables_that_are_not_set(root: str) -> None:
    with pytest.raises(
        UserError, match=r"root: \$.*the variable \$\{?NO_SUCH_VARIABLE\}? is not set"
    ):
        expand(root)


def test_homes_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="~nobody-of-this-name/a: found no home folder"):
        expand("~nobody-of-this-name/a")
    (tmp_path / "$odd").mkdir()  # a dollar sign in a name
    assert expand(f"{tmp_path}/$odd") == tmp_path / "$odd"


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("a.mp4", True),
        ("a.MKV", True),
        ("a", True),
        ("a.gif", True),
        ("a.unknown", True),
        (".DS_Store", False),
        ("._a.mp4", False),
        ("Thumbs.db", False),
        ("THUMBS.DB", False),
        ("desktop.ini", False),
        ("a.srt", False),
        ("a.en.vtt", False),
        ("a.info.json", False),
        ("a.TXT", False),
        ("a.jpg", False),
        ("a.mp4.part", False),
    ],
)
def test_which_files_may_be_videos(name: str, may: bool) -> None:
    assert may_be_video(name) == may


def test_names_by_stem_at_any_depth(tmp_path: Path) -> None:
    plant(tmp_path, {}, ["a.mp4", "deep/er/b.webm", "deep/c", "deep/a.MOV", ".cache/d.mp4"])
    plant(tmp_path, {}, ["a.json", "a.jpg", "b.mp4.part", "Thumbs.db", "@eaDir/a.mp4"])
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    (tmp_path / "link.mkv").symlink_to("a.mp4")
    assert names_by_stem(tmp_path) == {
        "a": ["a.mp4", "deep/a.MOV"],
        "b": ["deep/er/b.webm"],
        "c": ["deep/c"],
        "link": ["link.mkv"],
    }


def test_walks_of_link_loops_end(tmp_path: Path) -> None:
    plant(tmp_path / "tree", {}, ["a/1", "a/b/2", "3"])
    plant(tmp_path / "far", {}, ["4"])
    for place, target in {"tree/a/up": "..", "tree/a/b/self": ".", "tree/far": "../far"}.items():
        (tmp_path / place).symlink_to(target)
    (tmp_path / "far" / "back").symlink_to("../tree")
    found = [path.relative_to(tmp_path / "tree").as_posix() for path in walk(tmp_path / "tree")]
    assert found == ["3", "a/1", "a/b/2", "far/4"]


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: cannot be read \(No such file"):
        list(walk(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b.mp4", "a/b.mp4"),
        ("./a//b.mp4", "a/b.mp4"),
        ("{root}/a/b.mp4", "a/b.mp4"),
        ("{link}/a/b.mp4", "a/b.mp4"),
        ("../a", None),
        ("a/../../b", None),
        ("/etc/passwd", None),
        ("{root}x/a", None),
        ("{root}", None),
        (".", None),
        ("", None),
        ("a\0b", None),
    ],
)
def test_names_inside_the_root(tmp_path: Path, text: str, name: str | None) -> None:
    root, link = tmp_path / "root", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    assert inside(link, text.format(root=root, link=link)) == name


def test_relative_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inside(Path("data"), f"{tmp_path}/data/a") == "a"


def test_the_folder_of_a_table(tmp_path: Path) -> None:
    plant(tmp_path, {"table.csv": ""})
    assert folder_of(tmp_path / "table.csv") == folder_of(tmp_path) == tmp_path


@given(st.binary(max_size=20))
def test_every_name_prints_on_one_line(name: bytes) -> None:
    text = printable(os.fsdecode(name))
    assert text.isprintable()
    text.encode()


def test_what_names_look_like() -> None:
    assert printable(os.fsdecode("é ".encode() + b"\xff\n")) == "é \\xff\\n"
    assert printable("\ud800") == "\\ud800"
