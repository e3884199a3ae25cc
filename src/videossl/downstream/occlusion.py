"""Where a classifier looks: how much less sure it is when a square of the clip is hidden.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
section 4.2 (occlusion sensitivity): a grey square is moved over a picture. Here it hides the same
place in all frames of a clip, and what is watched is the predicted class, right or wrong.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videossl.data.loading.augment import Colours
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.example_batches import Chosen, ViewBatches
from videossl.data.loading.loader import batches
from videossl.data.loading.thumbnails import thumbnails
from videossl.data.shards.store import ClipStore
from videossl.train.device import pick_device

FILE = "occlusion.npz"
EXAMPLES = 4
GRID = 8  # places of the square along each side
SHARE = 0.25  # of the clip's side that the square's side is


def pick(count: int) -> NDArray[np.int64]:
    """Places of the examples that are looked at, whatever the results: evenly spread, both ends."""
    spread = np.linspace(0, count - 1, min(count, EXAMPLES))
    return np.unique(spread.round().astype(np.int64))


def corners(size: int) -> list[tuple[int, int, int]]:
    """Top, left and side of each square in a clip of ``size`` pixels, row by row."""
    side = max(1, round(SHARE * size))
    starts = np.linspace(0, size - side, GRID).round().astype(int).tolist()
    return [(top, left, side) for top in starts for left in starts]


@torch.no_grad()
def drops(model: nn.Module, clip: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """What hiding each square costs.

    Args:
        model: clips (B, 3, T, S, S) -> logits (B, classes), in eval mode.
        clip: (3, T, S, S), normalised, so that 0 is the mean colour.
        batch_size: clips that go through at once.

    Returns:
        (classes,) probabilities of the whole clip, and (GRID, GRID) by how much that of the
        predicted class is lower where the square is there; negative where it is higher.
    """
    places = corners(clip.shape[-1])
    whole = model(clip[None]).float().softmax(-1)[0]
    predicted = int(whole.argmax())
    found = []
    for first in range(0, len(places), batch_size):
        some = places[first : first + batch_size]
        hidden = clip.repeat(len(some), 1, 1, 1, 1)
        for one, (top, left, side) in zip(hidden, some, strict=True):
            one[..., top : top + side, left : left + side] = 0
        hidden = hidden.contiguous(memory_format=torch.channels_last_3d)
        found.append(model(hidden).float().softmax(-1)[:, predicted])
    return whole.cpu(), (whole[predicted] - torch.cat(found)).view(GRID, GRID).cpu()


def write(
    model: nn.Module,
    store: ClipStore,
    chosen: Chosen,
    labels: NDArray[np.int64],
    batch_size: int,
    colours: Colours,
    folder: Path,
) -> None:
    """Write ``occlusion.npz`` of a few examples: one clip of each, its map, what was predicted.

    ``examples``, ``labels``, ``predicted`` (V,); ``probability`` (V,) of the predicted class;
    ``clips`` (V, F, S, S, 3) uint8 RGB, see ``thumbnails``; ``drops`` (V, GRID, GRID); ``share``.

    Args:
        model: a classifier of whole clips, on its device.
        store: of the videos.
        chosen: the test examples, of which some are picked.
        labels: (N,) of all of them.
        batch_size: clips that go through at once.
        colours: that clips are normalised by.
        folder: for the file.
    """
    places = pick(len(chosen.numbers))
    some = replace(
        chosen,
        numbers=chosen.numbers[places],
        videos=[chosen.videos[place] for place in places],
        frames=None if chosen.frames is None else chosen.frames[places],
    )
    device, training = pick_device(), model.training
    model.eval()
    rows: list[tuple[Any, ...]] = []
    with closing(batches(ViewBatches(store, some, 1, 1, 1))) as stream:
        for batch in stream:
            (clips,) = to_device_clips(batch.to(device), chosen.clip.size, colours)
            scores, lower = drops(model, clips[0], batch_size)
            rows.append((int(scores.argmax()), float(scores.max()), lower, clips.cpu()))
    model.train(training)
    predicted, probability, lowers, clips_of = zip(*rows, strict=True)
    arrays: dict[str, Any] = {
        "examples": some.numbers,
        "labels": labels[places],
        "predicted": np.array(predicted, np.int64),
        "probability": np.array(probability, np.float32),
        "clips": thumbnails(torch.cat(clips_of), colours),
        "drops": torch.stack(lowers).numpy(),
        "share": np.float32(SHARE),
    }
    np.savez_compressed(folder / FILE, **arrays)
