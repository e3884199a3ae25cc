"""What datasets share whose two lists name videos without their extension: files have any."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from videossl.data.datasets.files import names_by_stem
from videossl.data.datasets.index import Entry, Index, build, check_complete
from videossl.data.datasets.lists import OddRow, OddRows, only

Row = TypeVar("Row")


@dataclass(frozen=True)
class Form(Generic[Row]):
    """How a list is written.

    ``rows`` gives each row of a list with its place: its line's number, or words where lines mean
    nothing. ``parse`` gives a row's video, without extension, and label; it raises ``OddRow``.
    """

    rows: Callable[[Path], Iterable[tuple[int | str, Row]]]
    parse: Callable[[Row], tuple[str, int]]
    expected: str  # what a list holds, for messages
    suffix: str  # of a video that is not there


def read(
    videos: Path, classes: list[str], lists: Mapping[str, Path], form: Form[Row], missing: float
) -> Index:
    """The index of the videos under ``videos`` that are in the lists of the parts of split "1".

    ``missing`` is the share of a list's videos that may be absent. A row is odd that is malformed,
    names a video that is listed already, or stands for two files.

    Raises:
        UserError: too many rows are odd, or videos are not there.
    """
    present = names_by_stem(videos)
    entries: dict[str, Entry] = {}
    gone: set[str] = set()
    odd: list[str] = []
    listed: dict[str, int] = {}
    for part, path in lists.items():
        rows = OddRows(path)
        listed = _read_list(rows, form, present, listed)
        odd += rows.checked(missing, bool(listed), form.expected)
        for video, label in listed.items():
            name = present.get(video, [f"{video}{form.suffix}"])[0]
            entries[name] = Entry(name, label, {"1": part})
        absent = [f"{video}{form.suffix}" for video in listed if video not in present]
        check_complete(listed, absent, missing, path, videos)
        gone.update(absent)
    return build(classes, videos, entries, gone, odd=odd)


def _read_list(
    odd: OddRows, form: Form[Row], present: Mapping[str, list[str]], train: Collection[str]
) -> dict[str, int]:
    """Video -> label, of one list; ``train`` holds the training list's videos after it."""
    found: dict[str, int] = {}
    for place, row in form.rows(odd.path):
        with odd.row(place):
            video, label = form.parse(row)
            if video in found:
                raise OddRow(f"{video} is listed twice")
            if video in train:
                raise OddRow(f"{video} is also in the train list")
            only(present.get(video, [""]))
            found[video] = label
    return found
