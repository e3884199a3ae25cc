"""What the last try of a stage instance ended with: for ``status``, and for engines that retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from videossl.job import Stopped, UserError

FOLDER = Path("scratch", "failed")
AGAIN = 75  # EX_TEMPFAIL, an exit status: stopped from outside, run it again to resume


class Failed(Exception):
    """A process of several that make one stage failed, with an exit ``status``."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"one of {what} failed; its error is above")
        self.what, self.status = what, status


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
    if attempt > 1 and (before := of(name)) is not None and before.refused:
        raise UserError(before.text)
    _write(name, None)  # it may be killed: an older note would be taken for what it ended with
    with one_of_several(name):
        yield


@contextmanager
def one_of_several(name: str) -> Iterator[None]:
    """Note the error that the block ends with, for who started this process and waits for it.

    What makes one process fail often makes the others fail too: the user's error stays noted, and
    else the first. Of a process that the block started, the exit status alone tells little: where
    one fails, those that work with it are asked to stop, and their status is the higher one.

    Raises:
        UserError: the block's; or the user's input was at fault in a process that it started.
        Stopped: the block's; or such a process was asked to stop, and this one was not.
    """
    try:
        try:
            yield
        except Failed as error:
            known = of(name)
            if known is not None and known.refused:
                raise UserError(str(error)) from error
            if known is None and error.status == AGAIN:
                raise Stopped(f"{error.what} were asked to stop") from error
            raise
    except Stopped:
        raise
    except UserError as error:
        if not isinstance(error.__cause__, Failed):  # whose own words are noted
            _write(name, Failure(str(error), True))
        raise
    except Exception as error:
        if of(name) is None:
            said = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            _write(name, Failure(said, False))
        raise


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
