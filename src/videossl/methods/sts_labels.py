"""Spatio-temporal statistics of clips: what STS asks a network to tell.

Source: Wang et al., "Self-supervised Video Representation Learning by Uncovering Spatio-temporal
Statistics", TPAMI 2021, section 3. Where in the frame is the largest motion, and where to does it
point; where are the colours most diverse and most stable, and what are they? "Where" is a block of
three patterns, or a frame of the clip.

27 labels in the order of ``NAMES``: per pattern block and orientation of the largest boundary of u,
then of v; the frame of the largest boundary of u, of v; per pattern block and dominant colour of
the largest diversity, then of the least; the clip's dominant colour.

A label is an index from 0, or ``IGNORED`` where nothing stands out: its winner must win alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100
BINS = 8  # of orientations, 45 degrees each, and of colours, each channel cut at 128
BLOCKS = (16, 4, 8)  # of the patterns
AT_ONCE = 8  # videos that a CPU works on at once: what is computed of them stays in its cache
MOTION = 14  # how many of the labels are about motion; they come first
NAMES = (
    *(f"{what}_{p}" for p in (1, 2, 3) for what in ("p_u", "o_u", "p_v", "o_v")),
    "I_u",
    "I_v",
    *(f"{what}_{p}" for p in (1, 2, 3) for what in ("p_l", "c_l", "p_s", "c_s")),
    "C",
)


def classes(flows: int) -> list[int]:
    """How many values each label has in clips of ``flows`` + 1 frames."""
    blocks = [n for count in BLOCKS for n in (count, BINS, count, BINS)]
    return [*blocks, flows, flows, *blocks, BINS]


class Labels(NamedTuple):
    """Labels of a batch, and how concentrated its motion is."""

    values: Tensor  # (B, 27) int64
    concentration: Tensor  # (B,) in [0, 1]; 0 without motion


class Patterns(nn.Module):
    """The blocks of all patterns in frames of ``size`` pixels; a block is a row of ``masks``.

    First a 4 x 4 grid, row by row; then a centre square and three rings around it, each a quarter
    of the side wider, inside to outside; then the eight triangles between the two centre lines and
    the two diagonals: left-upper, top-left, top-right, right-upper, left-lower, bottom-left,
    bottom-right, right-lower; last the whole frame. A pixel is in every block that holds its
    centre, borders included: a diagonal's pixels are in both its triangles.

    Attributes:
        masks: (29, size * size) float32, 1 inside.
        region: (size * size,) int64; pixels of a region are in the same blocks.
        regions: (R, 29) float32, which blocks a region is in.
    """

    masks: Tensor
    region: Tensor
    regions: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        whole = torch.ones(1, size, size, dtype=torch.bool)
        flat = torch.cat([grid(size), rings(size), triangles(size), whole]).flatten(1)
        regions, region = torch.unique(flat.T, dim=0, return_inverse=True)
        self.register_buffer("masks", flat.float(), persistent=False)
        self.register_buffer("region", region, persistent=False)
        self.register_buffer("regions", regions.float(), persistent=False)


def _axis(size: int) -> Tensor:
    """Twice the distance of pixel centres from the middle, in pixels: exact in integers."""
    return 2 * torch.arange(size) + 1 - size


def grid(size: int) -> Tensor:
    """The first pattern, (16, size, size) bool."""
    place, start = 2 * (_axis(size) + size), size * torch.arange(4)[:, None]
    part = (start <= place) & (place <= start + size)  # (4, size); the side is 4 size
    both: Tensor = part[:, None, :, None] & part[None, :, None, :]
    return both.flatten(0, 1)


def rings(size: int) -> Tensor:
    """The second pattern, (4, size, size) bool."""
    distance = _axis(size).abs()
    distance = 4 * torch.maximum(distance[:, None], distance[None, :])
    start = size * torch.arange(4)[:, None, None]
    return (start <= distance) & (distance <= start + size)


def triangles(size: int) -> Tensor:
    """The third pattern, (8, size, size) bool."""
    x, y = _axis(size)[None, :], _axis(size)[:, None]
    left, right, top, bottom = x <= 0, x >= 0, y <= 0, y >= 0
    wide, high = x.abs() >= y.abs(), y.abs() >= x.abs()
    parts = torch.stack([left & wide, left & high, right & high, right & wide])
    return torch.cat([parts & top, parts & bottom])


@torch.no_grad()
def label(
    flow: Tensor, shown: Tensor, clip: Tensor, patterns: Patterns, levels: int, still: float
) -> Labels:
    """All labels of a batch.

    Args:
        flow: (B, 2, T - 1, S, S) u to the right and v down, in pixels.
        shown: (B, T - 1), 1 where the flow is that between two frames of the clip, else 0.
        clip: (B, 3, T, S, S) colours in grey levels, 0 to 255.
        patterns: those of frames of S pixels.
        levels: bins of a colour's histogram; 256 in the paper.
        still: motion counts from this mean boundary on, in pixels of flow per pixel.
    """
    with torch.autocast(flow.device.type, enabled=False):
        motion, concentration = motion_labels(flow, shown, patterns, still)
        appearance = [appearance_labels(part, patterns, levels) for part in _portions(clip)]
    return Labels(torch.cat([motion, torch.cat(appearance)], dim=1), concentration)


def _portions(batch: Tensor) -> tuple[Tensor, ...]:
    """The batch in parts, of which each video's numbers are the same; a GPU takes all at once."""
    return torch.split(batch, AT_ONCE) if batch.device.type == "cpu" else (batch,)


# ------------------------------------------------------------------------------------ motion


def boundary(flow: Tensor) -> Tensor:
    """How flow changes to the right and down (eq. 1), in pixels per pixel.

    Prewitt's filter, as a correlation, so that a gradient points to larger flow; the outermost
    pixels are repeated beyond the border. (B, 2, N, S, S) -> (B, 2, 2, N, S, S): u, v by x, y.
    """
    b, fields, n, s, _ = flow.shape
    wide = F.pad(flow.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
    wide = wide.view(b, fields, n, s + 2, s + 2)
    across = wide[..., 2:] - wide[..., :-2]
    across = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    down = wide[..., 2:, :] - wide[..., :-2, :]
    down = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    return torch.stack([across, down], dim=2) / 6


def orientation(x: Tensor, y: Tensor) -> Tensor:
    """Which eighth of a turn a vector lies in: bin k is [45 k, 45 k + 45) degrees from x to y.

    By comparisons, so that vectors on the axes and the diagonals are exact.
    """
    half = (y < 0) | ((y == 0) & (x < 0))
    x, y = torch.where(half, -x, x), torch.where(half, -y, y)
    quarter = x <= 0
    x, y = torch.where(quarter, y, x), torch.where(quarter, -x, y)
    return 4 * half.byte() + 2 * quarter.byte() + (y >= x).byte()


def motion_labels(
    flow: Tensor, shown: Tensor, patterns: Patterns, still: float
) -> tuple[Tensor, Tensor]:
    """The 14 labels of motion, (B, 14), and its concentration, (B,); see ``label``.

    The concentration is the curriculum's score: the largest block's share in all of the summed
    boundary, of u or of v, whichever is larger (section 3.4; that the blocks are the
    grid's is our interpretation).
    """
    masks = patterns.masks.to(flow.dtype)
    pairs = zip(_portions(flow), _portions(shown.to(flow.dtype)), strict=True)
    per_frame, means = zip(*(_changes(*pair) for pair in pairs), strict=True)
    frames = torch.cat(per_frame)
    across, down = torch.cat(means).unbind(2)
    size, bins = torch.hypot(across, down), orientation(across, down)  # (B, 2, S * S)
    each = torch.arange(BINS, dtype=torch.uint8, device=bins.device)[:, None]
    parts = torch.where(bins[:, :, None] == each, size[:, :, None], 0)  # (B, 2, BINS, S * S)
    turned = (parts @ masks.T).transpose(2, 3)  # (B, 2, 29, BINS)
    sums = turned.sum(-1)
    found, where = [], 0
    for blocks in BLOCKS:
        part = slice(where, where + blocks)
        best = winner(sums[..., part] / masks[part].sum(1), still)  # (B, 2)
        found += [best, _of_block(turned[:, :, part], best)]
        where += blocks
    # (B, 6, 2): block and orientation of each pattern, of u and of v
    per_pattern = torch.stack(found, 1).view(-1, 3, 2, 2).transpose(2, 3).flatten(1)
    largest = sums[..., : BLOCKS[0]].amax(-1)
    share = largest / sums[..., -1].clamp(min=torch.finfo(sums.dtype).tiny)
    share = torch.where(largest / masks[: BLOCKS[0]].sum(1).amax() > still, share, 0)
    return torch.cat([per_pattern, winner(frames, still)], dim=1), share.amax(1)


def _changes(flow: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Mean boundary of each frame, (B, 2, N), and of each pixel, (B, 2, 2, S * S): u, v by x, y."""
    change = boundary(flow) * shown[:, None, None, :, None, None]
    count = shown.sum(1).clamp(min=1)
    frames = change.square().sum(2).sqrt().mean(dim=(-2, -1))
    return frames, (change.sum(3) / count[:, None, None, None, None]).flatten(3)


# -------------------------------------------------------------------------------- appearance


def appearance_labels(clip: Tensor, patterns: Patterns, levels: int) -> Tensor:
    """The 13 labels of appearance, (B, 13); see ``label``."""
    pixels = clip.round().clamp(0, 255).to(torch.uint8).flatten(3)  # (B, 3, T, S * S)
    red, green, blue = (pixels >> 7).unbind(1)
    code = 4 * red + 2 * green + blue  # (B, T, S * S)
    colours = histograms(code, BINS, patterns).sum(1)  # (B, 29, BINS)
    alike = stability(pixels, patterns, levels)
    found, where = [], 0
    for blocks in BLOCKS:
        part = slice(where, where + blocks)
        for score in (-alike[:, part], alike[:, part]):
            best = winner(score, -torch.inf)
            found += [best, _of_block(colours[:, part], best)]
        where += blocks
    return torch.stack([*found, winner(colours[:, -1], 0)], dim=1)


def stability(pixels: Tensor, patterns: Patterns, levels: int) -> Tensor:
    """How alike a block's colours are in all frames: 1 if all are the same, 0 if none.

    Of each channel's histograms of the frames, the smallest over the largest, summed over bins.
    (B, 3, T, S * S) uint8 -> (B, 29), the mean over channels.
    """
    shares = []
    for channel in (pixels * (levels / 256)).unbind(1):  # one by one: they are large
        counts = histograms(channel.long(), levels, patterns)  # (B, T, 29, levels)
        shares.append(counts.amin(1).sum(-1) / counts.amax(1).sum(-1))
    return torch.stack(shares).mean(0)


def histograms(values: Tensor, bins: int, patterns: Patterns) -> Tensor:
    """How often each value is in each block: (B, T, S * S) integers -> (B, T, 29, bins).

    Regions are counted first, because they are disjoint. Whole numbers: exact in any order.
    """
    b, t, _ = values.shape
    index = (values + patterns.region * bins).flatten(0, 1)  # int64
    regions = patterns.regions.new_zeros(b * t, len(patterns.regions) * bins)
    regions.scatter_add_(1, index, regions.new_ones(()).expand_as(index))
    return patterns.regions.T @ regions.view(b, t, -1, bins)


# ------------------------------------------------------------------------------------ winners


def winner(scores: Tensor, least: float) -> Tensor:
    """Index of the largest of the last axis; ``IGNORED`` unless it is above ``least`` and alone."""
    best, index = scores.max(-1)
    alone = (scores == best[..., None]).sum(-1) == 1
    return torch.where(alone & (best > least), index, IGNORED)


def _of_block(histograms: Tensor, block: Tensor) -> Tensor:
    """The winning bin of the chosen block; ``IGNORED`` where no block is chosen.

    (..., blocks, BINS), (...) -> (...).
    """
    index = block.clamp(min=0)[..., None, None].expand(*block.shape, 1, BINS)
    best = winner(histograms.gather(-2, index).squeeze(-2), 0)
    return torch.where(block == IGNORED, IGNORED, best)
