"""What is said when a disk refuses: which file, why, and how much is free."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videossl.job import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Say in one line what went wrong with a file while something at ``place`` was made.

    Raises:
        UserError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        file = Path(error.filename) if isinstance(error.filename, str) else place
        reason = error.strerror or str(error)
        if isinstance(error, shutil.Error):  # of a tree: one of its files says enough
            _, file, reason = error.args[0][0]
        text = f"{file}: {reason}{free(Path(file))}"
        if error.errno in FULL or os.strerror(errno.ENOSPC) in reason:
            text += "; `videossl prune` lists what no study needs"
        raise UserError(f"{text}; then run it again") from None


def free(place: Path) -> str:
    """How much room is left on the disk of ``place``, which need not be there."""
    for folder in (place, *place.absolute().parents):
        try:
            return f" ({shutil.disk_usage(folder).free / 1e9:.2f} GB are free there)"
        except OSError:
            continue
    return ""
