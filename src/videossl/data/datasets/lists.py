"""Annotation files as every adapter reads them: one odd row costs its example, not the dataset.

What makes a whole list unusable (it is not there, not text, has no header) is an error with one
clear line. What is wrong with one row is noted in ``OddRows`` with its line, and the row is passed
over; too many of them are an error again.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from videossl.job import UserError

ODD_SHARE = 0.01  # official lists have fewer: 7 of Charades' 7,985 training rows


class OddRow(Exception):
    """One row is odd; the message says what was found and what was expected."""


class OddRows:
    """The odd rows of one list. A row is read inside ``with odd.row(place):``, which takes its
    ``OddRow``, so that the loop goes on with the next one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = 0
        self.lines: list[str] = []
        self._place = ""

    def row(self, place: int | str) -> OddRows:
        """Note where the next row is: its line's number, or words where lines mean nothing."""
        self.seen += 1
        self._place = f"{self.path}:{place}" if isinstance(place, int) else f"{self.path}: {place}"
        return self

    def add(self, what: str) -> None:
        """Note that something about the present row is odd."""
        self.lines.append(f"{self._place}: {what}")

    def note(self, place: int | str, what: str) -> None:
        """Note that an earlier row turned out to be odd."""
        self.row(place).add(what)
        self.seen -= 1

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if isinstance(error, OddRow):
            self.add(str(error))
        return isinstance(error, OddRow)

    def checked(self, missing: float, any_good: bool, expected: str) -> list[str]:
        """The lines that say what is odd: of one row, or of a share of at most ``ODD_SHARE``.

        A larger share ``missing`` (of ``data.<name>``) is a larger share here too.

        Raises:
            UserError: more rows than that are odd, or none is good (``any_good``).
        """
        share = max(missing, ODD_SHARE)
        if len(self.lines) > max(1, share * self.seen):
            raise UserError(
                f"{self.lines[0]} ({len(self.lines)} of {self.seen} rows are odd; allowed is a "
                f"share of {share:g}, the larger one of {ODD_SHARE:g} and data.<name>.missing)"
            )
        if not any_good:
            found = f"; {self.lines[0]}" if self.lines else ""
            raise UserError(f"{self.path}: found no usable row; expected {expected}{found}")
        return self.lines


def lines(path: Path, expected: str) -> Iterator[tuple[int, str]]:
    """(line number, stripped text) of the lines of ``path`` that are not blank.

    ``expected`` says what the file should hold, after "expected".

    Raises:
        UserError: the file is not there, or not UTF-8 text.
    """
    for number, line in enumerate(text_of(path, expected).split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def rows(
    path: Path, columns: Sequence[str], expected: str, header: bool, odd: OddRows
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, fields by column) of the rows of a CSV file, quoted fields and all.

    With a ``header`` the columns may come in any order and others may stand beside them; without
    one, every row has exactly the fields ``columns`` names; a row with more or fewer fields is
    ``odd``. Values are handed on as they are.

    Raises:
        UserError: the file is not there, not UTF-8 or not CSV; a column is missing.
    """
    reader = csv.reader(io.StringIO(text_of(path, expected)), strict=True)
    names = None if header else list(columns)
    try:
        for fields in reader:
            if not "".join(fields).strip() and len(fields) < 2:
                continue
            if names is None:
                names = _header(path, reader.line_num, fields, columns, expected)
                continue
            if len(fields) != len(names):
                odd.row(reader.line_num).add(
                    f"found {len(fields)} fields in {','.join(fields)!r}; "
                    f"expected {len(names)}: {','.join(names)}"
                )
                continue
            yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not CSV ({error}); expected {expected}"
        ) from None
    if names is None:
        raise UserError(f"{path}: found no header; expected {expected}")


def load_json(path: Path, expected: str) -> Any:
    """The value in a JSON file, with or without a byte order mark.

    Raises:
        UserError: the file is not there, not UTF-8 or not JSON.
    """
    try:
        return json.loads(text_of(path, expected))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise UserError(f"{path}: not JSON (nested too deep); expected {expected}") from None


def only(names: Sequence[str]) -> str:
    """The one file that an annotation stands for.

    Raises:
        OddRow: there are several.
    """
    if len(names) > 1:
        raise OddRow(f"found both {names[0]} and {names[1]}; expected one of them")
    return names[0]


def choice(text: str, allowed: Iterable[str], what: str) -> str:
    """``text``, which has to be one of the ``allowed`` words for ``what``.

    Raises:
        OddRow: it is none; the word that was probably meant is named.
    """
    words = list(allowed)
    if text not in words:
        expected = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
        raise OddRow(f"found {what} {text!r}{meant(text, words)}; expected {expected}")
    return text


def meant(text: str, words: Iterable[str]) -> str:
    """`` (perhaps 'train' is meant)`` for ``Train``; empty where no word is like ``text``."""
    return _meant(text, tuple(words))


@lru_cache(maxsize=1024)  # a wrong word comes again in every row
def _meant(text: str, words: tuple[str, ...]) -> str:
    folded = {word.casefold(): word for word in words}
    like = difflib.get_close_matches(text.strip().casefold(), folded, n=1, cutoff=0.75)
    return f" (perhaps {folded[like[0]]!r} is meant)" if like else ""


def folder(path: Path, layout: str) -> Path:
    """``path``, which has to be a folder; ``layout`` names what the dataset's layout has.

    Raises:
        UserError: it is none.
    """
    if not path.is_dir():
        raise UserError(f"{path}: folder not found; {layout}")
    return path


def text_of(path: Path, expected: str) -> str:
    """The file's text without the mark that some editors put at its beginning.

    Raises:
        UserError: the file is not there, cannot be read, or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{path}: not found; expected {expected}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 text; expected {expected} (`iconv -t UTF-8` converts it)"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _header(
    path: Path, number: int, fields: list[str], columns: Sequence[str], expected: str
) -> list[str]:
    """The header's column names, which have to hold all of ``columns``."""
    names = [field.strip() for field in fields]
    absent = [column for column in columns if column not in names]
    if absent:
        other = next((char for char in ";\t" if char in fields[0]), None)
        hint = f" (fields are separated by commas, not by {other!r})" if other else ""
        raise UserError(
            f"{path}:{number}: found no column {absent[0]!r} in {','.join(names)!r}; "
            f"expected {expected}{hint}"
        )
    return names
