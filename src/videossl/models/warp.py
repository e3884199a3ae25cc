"""Geometric warps of clips: one 3x3 homography per clip, the same for all its frames.

A matrix says where the content goes: the point (x, y) moves to H (x, y, 1)^T, divided by its third
entry. Coordinates are those of a square picture: (0, 0) is its middle, x points to the right, y
down, and the centres of the outermost pixels are at -1 and 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def affine(rotation: Tensor, scale: Tensor, shear: Tensor, translation: Tensor) -> Tensor:
    """Matrices that shear, then scale, then rotate, then move the content.

    Args:
        rotation: (B,) degrees, positive clockwise on the screen.
        scale: (B,) factors, above 1 for larger content.
        shear: (B,) degrees; a point at height y moves to the right by y tan(shear).
        translation: (B, 2) shares of the side, to the right and down.

    Returns:
        (B, 3, 3).
    """
    angle, slant = torch.deg2rad(rotation), torch.deg2rad(shear).tan()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    x, y = (2 * translation).unbind(dim=1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, cos * slant - sin, x, sin, sin * slant + cos, y, zero, zero, one]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def affine_reach(rotation: float, scale: float, shear: float, translation: float) -> float:
    """The largest ``reach`` of an ``affine`` within the limits, which one of them attains.

    Args:
        rotation: largest angle to either side, degrees.
        scale: smallest factor.
        shear: largest angle to either side, degrees, below 90.
        translation: largest shift in any direction, shares of the side.
    """

    def extent(degrees: float) -> float:  # half the width of the unit square, turned
        angle = math.radians(min(degrees, 45.0))
        return math.cos(angle) + math.sin(angle)

    # a sheared picture is as wide as one that is turned further and stretched
    slanted = extent(rotation + shear) / math.cos(math.radians(shear))
    return (1 + 2 * translation) * max(slanted, extent(rotation)) / scale


def inverse(matrices: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that undo the given ones, up to a factor, which a homography ignores.

    The adjugate: three cross products, where a general inverse would wait for the device.
    """
    a, b, c = matrices.unbind(dim=1)
    columns = [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)]
    return torch.stack(columns, dim=2)


def project(matrices: Tensor, points: Tensor) -> Tensor:
    """Where points (N, 2) go under each of the matrices (B, 3, 3): (B, N, 2).

    Products are summed element by element: matrix products lose digits under autocast.
    """
    x, y = points[:, :1], points[:, 1:]  # each (N, 1)
    columns = matrices.unsqueeze(1).unbind(dim=3)  # three of (B, 1, 3)
    moved = columns[0] * x + columns[1] * y + columns[2]
    return moved[..., :2] / moved[..., 2:]


def reach(matrices: Tensor) -> Tensor:
    """How far beyond the picture a warp would look: (B, 3, 3) -> (B,).

    The largest coordinate of what lands in the picture, 1 where the picture just fills itself. This
    is the least ``zoom`` of ``warp`` at which no border shows. For matrices that move no point of
    the picture to or beyond infinity.
    """
    corners = matrices.new_tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    return project(inverse(matrices), corners).abs().amax(dim=(1, 2))


def warp(clips: Tensor, matrices: Tensor, zoom: float) -> Tensor:
    """Clips magnified by ``zoom`` about their middle, then moved by the matrices; bilinear.

    With one ``zoom`` for all, at least the largest ``reach``, nothing from outside is ever seen
    (it would be zero), and magnification says nothing about the matrix: the identity has it too.

    Args:
        clips: (B, C, T, S, S).
        matrices: (B, 3, 3) of the same floating type or wider.
        zoom: a factor.

    Returns:
        (B, C, T, S, S), channels_last_3d.
    """
    back = inverse(matrices)
    back = torch.cat([back[:, :2] / zoom, back[:, 2:]], dim=1)
    return sample(clips, back, centres=True)


def sample(clips: Tensor, maps: Tensor, centres: bool) -> Tensor:
    """Clips seen through maps from places in the result to places in the clip; bilinear.

    Args:
        clips: (B, C, T, S, S).
        maps: (B, 3, 3) homographies.
        centres: whether places -1 and 1 are the centres of the outermost pixels, or their borders.

    Returns:
        (B, C, T, S, S), channels_last_3d; zero where a place lies outside.
    """
    b, *_, height, width = clips.shape
    maps = maps.to(torch.promote_types(maps.dtype, clips.dtype))

    def axis(count: int) -> Tensor:
        places = torch.linspace(-1, 1, count, device=clips.device, dtype=maps.dtype)
        return places if centres else places * ((count - 1) / count)

    points = torch.cartesian_prod(axis(height), axis(width)).flip(1)  # (S x S, 2), x first
    grid = project(maps, points).view(b, height, width, 2).to(clips.dtype)
    # channels and time are planes of one picture
    seen = F.grid_sample(clips.flatten(1, 2), grid, align_corners=centres)
    return seen.view(clips.shape).contiguous(memory_format=torch.channels_last_3d)
