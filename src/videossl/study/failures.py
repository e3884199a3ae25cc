"""What the last try of a stage instance ended with: for ``status``, and for engines that retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from videossl.job import Stopped, UserError

FOLDER = Path("scratch", "failed")


@dataclass(frozen=True)
class Failure:
    """An error's text, and whether the user's input was at fault."""

    text: str
    refused: bool


@contextmanager
def noted(name: str, attempt: int = 1) -> Iterator[None]:
    """Run the block and note the error it ends with.

    An engine that starts a failed job again is told at once where the user's input was at fault.
    The first attempt always runs: the fault may have been mended since.

    Raises:
        UserError: the block's, or that of the earlier attempt.
    """
    if attempt == 1:  # it may be killed: an older note would be taken for what it ended with
        _write(name, None)
    elif (before := of(name)) is not None and before.refused:
        raise UserError(before.text)
    try:
        yield
    except UserError as error:
        _write(name, Failure(str(error), True))
        raise
    except Stopped:
        raise
    except Exception as error:
        _write(name, Failure(f"{type(error).__name__}: {error}", False))
        raise
    _write(name, None)  # what an earlier attempt ended with


def of(name: str, study: Path = Path()) -> Failure | None:
    """What the last try ended with; None where it did not fail, or nothing is known."""
    try:
        return Failure(**json.loads((study / FOLDER / name).read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        return None


def _write(name: str, failure: Failure | None) -> None:
    """Write or remove a note; where that is not possible the next attempt runs too."""
    note = FOLDER / name
    try:
        if failure is None:
            note.unlink(missing_ok=True)
        else:
            note.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"text": failure.text, "refused": failure.refused})
            note.write_text(text, encoding="ascii")
    except OSError:
        return
