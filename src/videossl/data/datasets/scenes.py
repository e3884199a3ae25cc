"""Dynamic scenes: YUPENN (Derpanis et al., CVPR 2012) and Maryland (Shroff et al., CVPR 2010)::

    <root>/<Class>/<video>

YUPENN has 14 classes of 30 videos, Maryland 13 of 10. Of YUPENN's successor YUP++ (Feichtenhofer
et al., CVPR 2017) the root is one of ``camera_stationary`` and ``camera_moving``. There are no
lists: the protocol leaves one video out at a time and trains on all others (Wang et al., CVPR
2019), so every video is in the one part ``all`` of split 1. What lies beside the class folders
(a read-me) is not looked at; in a class folder, everything but hidden files counts as a video.
"""

from __future__ import annotations

from pathlib import Path

from videossl.data.datasets.index import Entry, Index, build
from videossl.data.datasets.lists import folder
from videossl.job import UserError

LAYOUT = "the layout has a folder of videos per class"
IMAGES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff"}


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of the dataset under ``root``; classes are the folders in the order of their names.

    ``missing`` plays no part: there are no lists that a video could be missing from.

    Raises:
        UserError: there are fewer than two classes, a class has fewer than two videos (one is
            left out, one has to remain), or frames are stored in place of videos.
    """
    folders = sorted(
        path
        for path in folder(root, LAYOUT).iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    if len(folders) < 2:
        raise UserError(f"{root}: found {len(folders)} class folders; {LAYOUT}")
    entries: dict[str, Entry] = {}
    for label, path in enumerate(folders):
        names = [f"{path.name}/{video}" for video in _videos(path)]
        if len(names) < 2:
            raise UserError(f"{path}: found {len(names)} videos; expected at least 2 per class")
        entries |= {name: Entry(name, label, {"1": "all"}) for name in names}
    return build([path.name for path in folders], root, entries)


def _videos(path: Path) -> list[str]:
    """The names of one class's videos."""
    found = sorted(video for video in path.iterdir() if not video.name.startswith("."))
    for video in found:
        if video.is_dir() or video.suffix.lower() in IMAGES:
            what = "a folder" if video.is_dir() else "an image"
            raise UserError(f"{video}: found {what}; frames are not supported, expected videos")
    return [video.name for video in found]
