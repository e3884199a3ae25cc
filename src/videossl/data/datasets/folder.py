"""A plain tree, for videos that belong to no known dataset::

    <root>/{train,val,test}/<class>/<video>

``train`` and one of ``val`` and ``test`` have to be there. Where there is no ``test``, ``val``
plays its part; otherwise it is the part ``val``. Classes are the folders' names in order.

Every file below a class folder is a video, at any depth and whatever its name or type, and so are
links and folders with a video's extension: what cannot be decoded is among decode's rejects rather
than lost. Only hidden and system files (``.DS_Store``) and those whose extension says what else
they are (a clip's subtitles, description or thumbnail) are passed over. Plain files directly under
the root are no part of the tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from videossl.data.datasets.files import is_hidden, may_be_video, unreadable
from videossl.data.datasets.index import Entry, Index, build, difference, folded
from videossl.data.datasets.lists import folder, meant
from videossl.job import UserError

LABELS = {"class": "the class folder that the video is in"}
PARTS = ("train", "val", "test")
LAYOUT = "the layout has train/<class>/<video>, and test/ or val/ likewise"
VIDEO_SUFFIX = re.compile(
    r"\.(3gp|avi|flv|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|ogv|ts|webm|wmv)", re.IGNORECASE
)


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the tree under ``root``.

    ``missing`` plays no part: nothing is listed that could be absent.

    Raises:
        UserError: a part is missing, a class has no training video, or a file or folder lies
            where the layout has none.
    """
    found = {entry.name for entry in _visible(folder(root, LAYOUT)) if _is_folder(entry)}
    parts = [part for part in PARTS if part in found]
    if "train" not in parts or len(parts) < 2:
        absent = "test or val" if "train" in parts else "train"
        hints = [f"; {name}{meant(name, PARTS)}" for name in sorted(found - set(PARTS))]
        hint = next((hint for hint in hints if "meant" in hint), "")
        raise UserError(f"{root}: found no folder {absent}{hint}; a split is needed: {LAYOUT}")
    if other := sorted(found.difference(PARTS)):
        hint = meant(other[0], PARTS)
        raise UserError(
            f"{root / other[0]}: found beside train{hint}; expected train, val and test"
        )
    videos = {part: _read_part(root / part) for part in parts}
    classes = sorted(name for name, names in videos["train"].items() if names)
    labels = {name: label for label, name in enumerate(classes)}
    entries: dict[str, Entry] = {}
    for part, by_class in videos.items():
        played = "test" if part == "val" and "test" not in parts else part
        for name, names in by_class.items():
            if names and name not in labels:
                alike = [one for one in classes if folded(one) == folded(name)][:1]
                hint = "".join(f"; {one!r} has: {difference(name, one)}" for one in alike)
                raise UserError(f"{root / part / name}: class {name!r} has no video in train{hint}")
            for inside in names:
                video = f"{part}/{name}/{inside}"
                entries[video] = Entry(video, labels[name], {"1": played})
    return build(classes, root, entries)


def _read_part(part: Path) -> dict[str, list[str]]:
    """Class -> videos of one part, as paths relative to the folder of the class."""
    found: dict[str, list[str]] = {}
    for entry in _visible(part):
        if not _is_folder(entry):
            if not may_be_video(entry.name):
                continue
            raise UserError(f"{entry.path}: found a file beside the class folders; {LAYOUT}")
        found[entry.name] = list(_below(entry, ""))
    if not any(found.values()):
        raise UserError(f"{part}: found no video; {LAYOUT}")
    return found


def _below(folder: os.DirEntry[str], before: str) -> Iterator[str]:
    """What counts as a video below a folder, ``before`` its name; links are not followed."""
    for child in _visible(folder):
        is_folder = child.is_dir(follow_symlinks=False)
        if is_folder and not VIDEO_SUFFIX.fullmatch(Path(child.name).suffix):
            yield from _below(child, f"{before}{child.name}/")
        elif may_be_video(child.name):
            yield before + child.name


def _visible(path: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """By name; directory entries know what they are, where paths would ask the disk for each.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise unreadable(error) from None
    return sorted(found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Of links, whether they lead to a folder."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
