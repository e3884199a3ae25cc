"""Look into a folder of shards: is every byte as it was written, and what does a video show."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib import image
from tqdm import tqdm

from videossl import durable
from videossl.data.shards.store import ClipStore, CorruptShard
from videossl.job import UserError

SHOWN = 20  # damaged places that an error lists


def verify(folder: Path) -> str:
    """Check every shard's size and SHA-256 and every frame's checksum, and decode every frame.

    Raises:
        UserError: a line per damaged place.
    """
    store = ClipStore(folder)
    faults = [
        f"{folder / shard['file']}: SHA-256 is not the manifest's"
        for shard in tqdm(store.shards, "shards", disable=None)
        if durable.sha256(folder / shard["file"]) != shard["sha256"]
    ]
    frames = 0
    for number, video in enumerate(tqdm(store.videos, "videos", unit="video", disable=None)):
        for frame in range(video.frames):
            try:
                store.clip(number, [frame])
                frames += 1
            except (CorruptShard, ValueError) as error:  # ValueError: not a JPEG file
                faults.append(str(error))
    if len(faults) > SHOWN:
        faults[SHOWN:] = [f"{folder}: {len(faults) - SHOWN} more damaged places"]
    if faults:
        raise UserError("\n".join(faults))
    return (
        f"{folder}: whole: {len(store.shards)} shards, {len(store)} videos, {frames} frames, "
        f"{len(store.rejects)} rejected videos"
    )


def listing(folder: Path) -> str:
    """A line per stored video, then a line per rejected one."""
    store = ClipStore(folder)
    lines = [
        f"{v.name}  {v.frames} frames  {v.width}x{v.height}  {v.fps:.4g} fps  "
        f"{store.classes[v.label] if v.label >= 0 else 'no class'}"
        for v in store.videos
    ]
    lines += [f"{reject['name']}  rejected: {reject['reason']}" for reject in store.rejects]
    return "\n".join(lines).encode(errors="backslashreplace").decode()


def show(folder: Path, name: str, out: Path, frames: int = 16) -> str:
    """Write a contact sheet (PNG) of one video: ``frames`` frames spread evenly, row by row.

    Raises:
        UserError: there is no such video.
    """
    store = ClipStore(folder)
    found = [i for i, video in enumerate(store.videos) if video.name == name]
    if not found:
        reasons = [reject["reason"] for reject in store.rejects if reject["name"] == name]
        why = f"rejected: {reasons[0]}" if reasons else f"not among its {len(store)} videos"
        raise UserError(f"{folder}: {name}: {why}")
    video = store.videos[found[0]]
    count = min(frames, video.frames)
    indices = np.linspace(0, video.frames - 1, count).round().astype(int).tolist()
    clip = store.clip(found[0], indices)  # (T, H, W, C)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, *clip.shape[1:]), np.uint8)
    sheet[:count] = clip
    sheet = sheet.reshape(rows, columns, *clip.shape[1:]).swapaxes(1, 2)
    picture = sheet.reshape(rows * clip.shape[1], columns * clip.shape[2], -1)
    image.imsave(out, np.broadcast_to(picture, (*picture.shape[:2], 3)), format="png")
    return f"{out}: frames {', '.join(map(str, indices))} of {video.frames} of {name}"
