"""Dynamic scenes: YUPENN (Derpanis et al., CVPR 2012) and Maryland (Shroff et al., CVPR 2010)::

    <root>/<Class>/<video>

YUPENN has 14 classes of 30 videos, Maryland 13 of 10. Of YUPENN's successor YUP++ (Feichtenhofer
et al., CVPR 2017) the root is one of ``camera_stationary`` and ``camera_moving``. There are no
lists: the protocol leaves one video out at a time and trains on all others (Wang et al., CVPR
2019), so every video is in the one part ``all`` of split 1. What lies beside the class folders
(a read-me) is not looked at; in a class folder, every file counts as a video that is not hidden and
whose extension does not say what else it is (a thumbnail, notes).
"""

from __future__ import annotations

from pathlib import Path

from videossl.data.datasets.files import is_hidden, may_be_video
from videossl.data.datasets.index import Entry, Index, build
from videossl.data.datasets.lists import folder
from videossl.job import UserError

LAYOUT = "the layout has a folder of videos per class"
LABELS = {"scene": "the folder that the video is in"}


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
        if path.is_dir() and not is_hidden(path.name)
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
    found = sorted(child for child in path.iterdir() if not is_hidden(child.name))
    if folders := [child for child in found if child.is_dir()]:
        raise UserError(f"{folders[0]}: found a folder; frames are not supported, expected videos")
    videos = [child.name for child in found if may_be_video(child.name)]
    if found and not videos:
        raise UserError(f"{found[0]}: found no video beside it; frames are not supported")
    return videos
