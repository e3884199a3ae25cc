"""Reading annotation files: line numbers, quoted fields, and one clear line for what is bad."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videossl.data.datasets.lists import (
    OddRow,
    OddRows,
    choice,
    folder,
    lines,
    load_json,
    rows,
)
from videossl.job import UserError


def test_lines_are_stripped_and_numbered_from_one(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeff first \r\n\r\n\tthird\x0bstill third\n".encode())
    assert list(lines(path, "videos")) == [(1, "first"), (3, "third\x0bstill third")]


def test_rows_of_a_headed_file_may_have_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('b,extra,a\n\n"x, ""y""",1,z\n')
    assert list(rows(path, ["a", "b"], "a,b", header=True, odd=OddRows(path))) == [
        (3, {"a": "z", "b": 'x, "y"', "extra": "1"})
    ]


def test_rows_without_a_header_keep_empty_fields(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("1,,\n,,\n")
    assert list(rows(path, ["a", "b", "c"], "a,b,c", header=False, odd=OddRows(path))) == [
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
    read = [
        (row["a"], row["b"])
        for _, row in rows(path, ["a", "b"], "a,b", header=True, odd=OddRows(path))
    ]
    assert read == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a,c\n1,2\n", r"table\.csv:1: found no column 'b' in 'a,c'; expected a and b$"),
        (b"a;b\n1;2\n", r"table\.csv:1: found no column 'a' .* by commas, not by ';'\)$"),
        (b'a,b\n"1"x,2\n', r"table\.csv:2: not CSV \(.*\); expected a and b$"),
        (b"\n", r"table\.csv: found no header; expected a and b$"),
        (b"a,b\n\xff,2\n", r"table\.csv:2: not UTF-8 text; expected a and b \("),
    ],
)
def test_bad_tables(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text)
    with pytest.raises(UserError, match=message):
        list(rows(path, ["a", "b"], "a and b", header=True, odd=OddRows(path)))


def test_rows_with_other_numbers_of_fields_are_odd(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3\n4,5,6\n")
    odd = OddRows(path)
    assert [number for number, _ in rows(path, ["a", "b"], "a,b", header=True, odd=odd)] == [2]
    assert odd.lines == [
        f"{path}:3: found 1 fields in '3'; expected 2: a,b",
        f"{path}:4: found 3 fields in '4,5,6'; expected 2: a,b",
    ]


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


def test_an_odd_row_costs_itself(tmp_path: Path) -> None:
    odd = OddRows(tmp_path / "list.txt")
    good = []
    for number in range(1, 201):
        with odd.row(number):
            if number in (7, 9):
                raise OddRow("found a; expected b")
            good.append(number)
    assert good == [number for number in range(1, 201) if number not in (7, 9)]
    lines = [f"{tmp_path}/list.txt:{number}: found a; expected b" for number in (7, 9)]
    assert odd.checked(0.0, True, "rows") == lines
    odd.row("entry 3").add("it is odd, too")
    with pytest.raises(
        UserError, match=r"list\.txt:7: found a; expected b \(3 of 201 rows are odd"
    ):
        odd.checked(0.0, True, "rows")
    assert odd.checked(0.02, True, "rows")[-1] == f"{tmp_path}/list.txt: entry 3: it is odd, too"


def test_other_errors_pass_through(tmp_path: Path) -> None:
    odd = OddRows(tmp_path)
    with pytest.raises(KeyError), odd.row(1):
        raise KeyError
    assert odd.lines == []


def test_a_list_without_a_good_row(tmp_path: Path) -> None:
    odd = OddRows(tmp_path / "list.txt")
    with pytest.raises(UserError, match=r"list\.txt: found no usable row; expected videos$"):
        odd.checked(0.0, False, "videos")
    odd.row(1).add("found a")
    with pytest.raises(UserError, match=r"expected videos; .*list\.txt:1: found a$"):
        odd.checked(0.0, False, "videos")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Train",
            r"^found part 'Train' \(perhaps 'train' is meant\); expected train, val or test$",
        ),
        ("tset", r"\(perhaps 'test' is meant\)"),
        ("", r"^found part ''; expected"),
        ("other", r"^found part 'other'; expected"),
    ],
)
def test_choices_and_what_was_meant(text: str, message: str) -> None:
    assert choice("val", ("train", "val", "test"), "part") == "val"
    with pytest.raises(OddRow, match=message):
        choice(text, ("train", "val", "test"), "part")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf[\n{]", r"a\.json:2: not JSON \("),
        ("[]".encode("utf-16"), r"a\.json:1: not UTF-8 text; expected a list"),
        (b"[" * 200_000, r"a\.json: not JSON \(nested too deep\)"),
    ],
)
def test_bad_json(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_json(path, "a list")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"list\.txt: cannot be read \(Permission denied\)$"):
        list(lines(tmp_path / "list.txt", "lines"))
