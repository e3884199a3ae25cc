"""Files and folders of a dataset: where its root is, which files may be videos, how names print."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from videossl.job import UserError

# What file managers, players, downloaders and operating systems leave beside videos. Anything else,
# also a file without extension, may be a video: decode says what is none.
NO_VIDEOS = {
    ".txt", ".md", ".rst", ".pdf", ".html", ".htm", ".log", ".nfo", ".doc", ".docx",
    ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".ini", ".toml", ".xls", ".xlsx",
    ".srt", ".vtt", ".ass", ".ssa", ".sub", ".idx", ".lrc", ".eaf", ".textgrid",
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".svg", ".thm",
    ".wav", ".mp3", ".aac", ".m4a", ".flac", ".opus",
    ".npy", ".npz", ".pkl", ".pickle", ".mat", ".h5", ".hdf5", ".pt", ".pth",
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar",
    ".part", ".ytdl", ".crdownload", ".tmp", ".bak", ".torrent",
    ".py", ".sh", ".m", ".db", ".lnk", ".url", ".md5", ".sha256", ".lock",
}  # fmt: skip
VARIABLE = re.compile(r"\$(\w+|\{\w+\})")
SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "@eadir"}


def expand(root: str) -> Path:
    """``data.<name>.root`` with ``~`` and variables such as ``$HOME`` replaced.

    Raises:
        UserError: a variable is not set, or there is no such user.
    """
    text = os.path.expandvars(root)
    if (match := VARIABLE.search(text)) and not os.path.lexists(text):
        raise UserError(f"data.<name>.root: {root}: the variable {match[0]} is not set")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"data.<name>.root: {root}: found no home folder of that user") from None


def folder_of(root: Path) -> Path:
    """The folder that a dataset's names are relative to: its root, or that of a table as root."""
    return root.parent if root.is_file() else root


def is_hidden(name: str) -> bool:
    """Whether the file or folder ``name``, without its path, is none of the user's data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def may_be_video(name: str) -> bool:
    """False for hidden files, and for those whose extension says what else they are.

    ``name`` is a file's name without its path. So the sidecars of a clip (subtitles, descriptions,
    thumbnails, half downloads) never stand for the clip.
    """
    return not is_hidden(name) and _suffix(name.lower()) not in NO_VIDEOS


def _suffix(name: str) -> str:
    """As ``Path(name).suffix``, of a name that is asked for each file of a dataset."""
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""


def walk(folder: Path) -> Iterator[Path]:
    """The files below ``folder`` at any depth, sorted within a folder, links followed.

    A folder that links lead to again is entered once, so a loop of links ends. Hidden and system
    folders are passed over; files are not.

    Raises:
        UserError: a folder cannot be read.
    """
    visited: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        status = Path(parent).stat()
        key = status.st_dev, status.st_ino
        if key in visited:
            folders.clear()
            continue
        visited.add(key)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(parent, name) for name in sorted(files))


def names_by_stem(folder: Path) -> dict[str, list[str]]:
    """Name without extension -> posix names relative to ``folder``, of files that may be videos.

    Files at any depth; only regular ones (and links to them) count. More than one name means that
    an annotation could mean either.
    """
    found: dict[str, list[str]] = {}
    for path in walk(folder):
        if may_be_video(path.name) and path.is_file():
            found.setdefault(path.stem, []).append(path.relative_to(folder).as_posix())
    return found


def inside(root: Path, text: str) -> str | None:
    """A listed path as a posix name relative to ``root``; None where it leads out of it.

    Absolute paths below the root are made relative. Links are not resolved: a link below the root
    may lead anywhere, because people link disks.
    """
    path = PurePosixPath(text)
    for base in (root.absolute(), root.resolve()):
        if path.is_absolute() and path.is_relative_to(base):
            path = path.relative_to(base)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in text:
        return None
    return path.as_posix()


def printable(text: str) -> str:
    """Text for a terminal, on one line: bytes that are no UTF-8 and control characters escaped."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def unreadable(error: OSError) -> UserError:
    """The one line of a folder that cannot be read."""
    return UserError(f"{error.filename}: cannot be read ({error.strerror})")


def _refuse(error: OSError) -> None:
    raise unreadable(error)
