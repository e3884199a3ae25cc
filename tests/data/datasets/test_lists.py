"""Reading annotation files: line numbers, quoted fields, and one clear line for what is bad."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.trees import plant
from videossl.data.datasets.lists import files_by_stem, folder, lines, rows
from videossl.job import UserError


def test_lines_are_stripped_and_numbered_from_one(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeff first \r\n\r\n\tthird\x0bstill third\n".encode())
    assert list(lines(path, "videos")) == [(1, "first"), (3, "third\x0bstill third")]


def test_rows_of_a_headed_file_may_have_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('b,extra,a\n\n"x, ""y""",1,z\n')
    assert list(rows(path, ["a", "b"], "a,b", header=True)) == [
        (3, {"a": "z", "b": 'x, "y"', "extra": "1"})
    ]


def test_rows_without_a_header_keep_empty_fields(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("1,,\n,,\n")
    assert list(rows(path, ["a", "b", "c"], "a,b,c", header=False)) == [
        (1, {"a": "1", "b": "", "c": ""}),
        (2, {"a": "", "b": "", "c": ""}),
    ]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), max_size=8)


@settings(deadline=None, derandomize=True)
@given(table=st.lists(st.tuples(FIELD, FIELD), max_size=5))
def test_rows_give_back_what_a_csv_writer_wrote(
    table: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("a", "b"), *table])
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(text.getvalue().encode())
    read = [(row["a"], row["b"]) for _, row in rows(path, ["a", "b"], "a,b", header=True)]
    assert read == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a,c\n1,2\n", r"table\.csv:1: found no column 'b' in 'a,c'; expected a and b$"),
        (b"a,b\n1,2\n3\n", r"table\.csv:3: found 1 fields in '3'; expected 2: a,b$"),
        (b"a,b\n1,2,3\n", r"table\.csv:2: found 3 fields in '1,2,3'; expected 2: a,b$"),
        (b'a,b\n"1"x,2\n', r"table\.csv:2: not CSV \(.*\); expected a and b$"),
        (b"\n", r"table\.csv: found no header; expected a and b$"),
        (b"a,b\n\xff,2\n", r"table\.csv: not UTF-8 text; expected a and b$"),
    ],
)
def test_bad_tables(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "table.csv").write_bytes(text)
    with pytest.raises(UserError, match=message):
        list(rows(tmp_path / "table.csv", ["a", "b"], "a and b", header=True))


@pytest.mark.parametrize("name", ["absent.txt", "file/below.txt", "."])
def test_what_is_no_file_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"not found; expected one `a b` a line$"):
        list(lines(tmp_path / name, "one `a b` a line"))


def test_folder(tmp_path: Path) -> None:
    assert folder(tmp_path, "the layout has it") == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: folder not found; the layout has it$"):
        folder(tmp_path / "file", "the layout has it")


def test_files_by_stem_at_any_depth(tmp_path: Path) -> None:
    plant(tmp_path, {}, ["a.mp4", "deep/er/b.webm", "deep/c", "d.mp4.part"])
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    (tmp_path / "link.mkv").symlink_to("a.mp4")
    assert files_by_stem(tmp_path) == {
        "a": "a.mp4",
        "b": "deep/er/b.webm",
        "c": "deep/c",
        "d.mp4": "d.mp4.part",
        "link": "link.mkv",
    }


@pytest.mark.parametrize("other", ["a.webm", "deep/a.mp4"])
def test_files_by_stem_refuses_two_of_one_stem(tmp_path: Path, other: str) -> None:
    plant(tmp_path, {}, ["a.mp4", other])
    with pytest.raises(UserError, match=f"found both a.mp4 and {other}; expected one of them"):
        files_by_stem(tmp_path)
