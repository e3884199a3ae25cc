"""An engine that starts a failed job again is told at once where the user's input was at fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videossl.job import UserError

FOLDER = Path("scratch", "refused")


@contextmanager
def once(name: str, attempt: int) -> Iterator[None]:
    """Run the block, unless an earlier attempt of it ended with a user's error.

    The first attempt always runs: the fault may have been mended since.

    Raises:
        UserError: the block's, or that of the earlier attempt.
    """
    note = FOLDER / name
    if attempt == 1:  # it may be killed: an older note would be taken for what it ended with
        _write(note, "")
    elif said := _read(note):
        raise UserError(said)
    try:
        yield
    except UserError as error:
        _write(note, str(error))
        raise


def _read(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _write(note: Path, text: str) -> None:
    """Write a note; where that is not possible the next attempt runs too."""
    try:
        if text:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(text, encoding="utf-8", errors="surrogateescape")
        else:
            note.unlink(missing_ok=True)
    except OSError:
        return
