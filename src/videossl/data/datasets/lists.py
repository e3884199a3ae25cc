"""Annotation files and folders as every adapter reads them, with one clear line for what is bad."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from videossl.job import UserError


def lines(path: Path, expected: str) -> Iterator[tuple[int, str]]:
    """(line number, stripped text) of the lines of ``path`` that are not blank.

    ``expected`` says what the file should hold, after "expected".

    Raises:
        UserError: the file is not there, or not UTF-8 text.
    """
    for number, line in enumerate(_text(path, expected).split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def rows(
    path: Path, columns: Sequence[str], expected: str, header: bool
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, fields by column) of the rows of a CSV file, quoted fields and all.

    With a ``header`` the columns may come in any order and others may stand beside them; without
    one, every row has exactly the fields ``columns`` names. Values are handed on as they are.

    Raises:
        UserError: the file is not there, not UTF-8 or not CSV; a column is missing; a row has
            more or fewer fields than there are columns.
    """
    reader = csv.reader(io.StringIO(_text(path, expected)), strict=True)
    names = None if header else list(columns)
    try:
        for fields in reader:
            if not "".join(fields).strip() and len(fields) < 2:
                continue
            if names is None:
                names = _header(path, reader.line_num, fields, columns, expected)
                continue
            if len(fields) != len(names):
                raise UserError(
                    f"{path}:{reader.line_num}: found {len(fields)} fields in "
                    f"{','.join(fields)!r}; expected {len(names)}: {','.join(names)}"
                )
            yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not CSV ({error}); expected {expected}"
        ) from None
    if names is None:
        raise UserError(f"{path}: found no header; expected {expected}")


def folder(path: Path, layout: str) -> Path:
    """``path``, which has to be a folder; ``layout`` names what the dataset's layout has.

    Raises:
        UserError: it is none.
    """
    if not path.is_dir():
        raise UserError(f"{path}: folder not found; {layout}")
    return path


def files_by_stem(folder: Path) -> dict[str, str]:
    """Name without extension -> posix name relative to ``folder``, for the files at any depth.

    Only regular files (and links to them) count.

    Raises:
        UserError: two files differ in nothing but their extension or their folder, so that an
            annotation could mean either.
    """
    found: dict[str, str] = {}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for path in (Path(parent, name) for name in sorted(files)):
            if not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            other = found.setdefault(path.stem, name)
            if other != name:
                raise UserError(f"{folder}: found both {other} and {name}; expected one of them")
    return found


def _header(
    path: Path, number: int, fields: list[str], columns: Sequence[str], expected: str
) -> list[str]:
    """The header's column names, which have to hold all of ``columns``."""
    names = [field.strip() for field in fields]
    absent = [column for column in columns if column not in names]
    if absent:
        raise UserError(
            f"{path}:{number}: found no column {absent[0]!r} in {','.join(names)!r}; "
            f"expected {expected}"
        )
    return names


def _text(path: Path, expected: str) -> str:
    """The file's text without the mark that some editors put at its beginning."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{path}: not found; expected {expected}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; expected {expected}") from None
