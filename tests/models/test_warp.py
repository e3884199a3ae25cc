import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videossl.models.warp import affine, affine_reach, inverse, project, reach, warp

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
LIMITS = st.tuples(
    st.floats(1, 180), st.floats(0.3, 1), st.floats(1, 60), st.floats(0.01, 0.5)
)  # rotation, smallest scale, shear, translation


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def maps(rotation=0.0, scale=1.0, shear=0.0, right=0.0, down=0.0):
    """One affine matrix."""
    values = [torch.tensor([value], dtype=torch.float64) for value in (rotation, scale, shear)]
    return affine(*values, torch.tensor([[right, down]], dtype=torch.float64))


def homographies(count=5):
    """Maps near the identity with some perspective."""
    matrices = torch.eye(3, dtype=torch.float64) + 0.2 * torch.randn(count, 3, 3).double()
    matrices[:, 2, :2] *= 0.5
    return matrices


def written_out(picture, matrix, zoom):
    """Each pixel of the result looked up in the source, in plain numbers; outside is zero."""
    side = len(picture)
    undone = np.linalg.inv(np.array(matrix))
    out = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            x, y = 2 * column / (side - 1) - 1, 2 * row / (side - 1) - 1
            u, v, w = undone @ [x, y, 1.0]
            at_x = (u / w / zoom + 1) / 2 * (side - 1)
            at_y = (v / w / zoom + 1) / 2 * (side - 1)
            left, top = math.floor(at_x), math.floor(at_y)
            for i, share_y in ((top, 1 - (at_y - top)), (top + 1, at_y - top)):
                for j, share_x in ((left, 1 - (at_x - left)), (left + 1, at_x - left)):
                    if 0 <= i < side and 0 <= j < side:
                        out[row, column] += share_y * share_x * picture[i][j]
    return out


@pytest.mark.parametrize("zoom", [1.0, 1.7])
def test_every_plane_of_a_clip_is_the_written_out_picture(zoom):
    clips, matrices = torch.randn(5, 2, 3, 9, 9).double(), homographies()
    found = warp(clips, matrices, zoom)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    for clip, matrix, result in zip(clips, matrices.tolist(), found, strict=True):
        for channel in range(2):
            for frame in range(3):
                expected = written_out(clip[channel, frame].tolist(), matrix, zoom)
                np.testing.assert_allclose(result[channel, frame], expected, rtol=1e-6, atol=1e-9)


def test_the_identity_at_zoom_one_changes_nothing_and_else_only_magnifies():
    clips = torch.randn(2, 3, 4, 9, 9)
    torch.testing.assert_close(warp(clips, maps().float().expand(2, 3, 3), 1.0), clips)
    twice = warp(clips, maps().float().expand(2, 3, 3), 2.0)
    middle = clips[..., 2:7, 2:7]
    torch.testing.assert_close(twice[..., ::2, ::2], middle)  # every other pixel is an old one


def test_content_goes_where_the_map_says():
    clip = torch.zeros(1, 1, 1, 21, 21).double()
    clip[..., 10, 15] = 1  # half way from the middle to the right
    for changes, (row, column) in [
        ({"right": 0.1}, (10, 17)),  # a share of the side, which is 20 pixels from centre to centre
        ({"down": -0.1}, (8, 15)),
        ({"scale": 2.0}, (10, 20)),
        ({"scale": 0.4}, (10, 12)),
        ({"rotation": 90.0}, (15, 10)),  # clockwise
        ({"rotation": 90.0, "down": 0.1}, (17, 10)),  # the shift comes last
    ]:
        found = warp(clip, maps(**changes), 1.0)[0, 0, 0]
        assert divmod(int(found.argmax()), 21) == (row, column), changes
    clip = torch.zeros(1, 1, 1, 21, 21).double()
    clip[..., 15, 10] = 1  # below the middle: goes right with shear, and left with a turn
    found = warp(clip, maps(shear=45.0), 1.0)[0, 0, 0]
    assert divmod(int(found.argmax()), 21) == (15, 15)
    found = warp(clip, maps(shear=45.0, rotation=90.0), 1.0)[0, 0, 0]  # shear comes first
    assert divmod(int(found.argmax()), 21) == (15, 5)


def test_inverse_undoes_and_project_divides():
    matrices, points = homographies(), torch.rand(7, 2).double() - 0.5
    product = inverse(matrices) @ matrices
    eye = torch.eye(3, dtype=torch.float64).expand_as(product)
    torch.testing.assert_close(product / product[:, 2:, 2:], eye)
    moved = project(matrices, points)
    for matrix, found in zip(matrices, moved, strict=True):
        for point, place in zip(points, found, strict=True):
            x, y, w = matrix @ torch.tensor([*point, 1.0], dtype=torch.float64)
            torch.testing.assert_close(place, torch.stack([x, y]) / w)
            back = project(inverse(matrix[None]), place[None])[0, 0]
            torch.testing.assert_close(back, point)


def drawn(limits, count, generator):
    """Affine matrices within the limits, in float64; the last ones at the corners of the box."""
    rotation, scale, shear, translation = limits
    u = torch.rand(count, 5, generator=generator, dtype=torch.float64) * 2 - 1
    u[count // 2 :] = u[count // 2 :].sign()
    size = scale * (1 + (1 - u[:, 1]) / 2)
    return affine(rotation * u[:, 0], size, shear * u[:, 2], translation * u[:, 3:])


@EXAMPLES
@given(limits=LIMITS, seed=st.integers(0, 2**32))
def test_at_the_largest_reach_no_border_shows(limits, seed):
    matrices = drawn(limits, 40, torch.Generator().manual_seed(seed))
    zoom = affine_reach(*limits)
    assert reach(matrices).max() <= zoom * (1 + 1e-9)
    ones = torch.ones(40, 1, 2, 12, 12)
    torch.testing.assert_close(
        warp(ones, matrices.float(), zoom * (1 + 1e-6)), ones, atol=1e-5, rtol=0
    )


@EXAMPLES
@given(limits=LIMITS)
def test_the_largest_reach_is_attained(limits):
    rotation, scale, shear, translation = limits
    angle = torch.linspace(-rotation, rotation, 721, dtype=torch.float64)
    slant = torch.linspace(-shear, shear, 81, dtype=torch.float64)
    turned, slanted = (x.flatten() for x in torch.meshgrid(angle, slant, indexing="ij"))
    found = [
        reach(
            affine(
                turned,
                torch.full_like(turned, scale),
                slanted,
                translation * torch.tensor(signs, dtype=torch.float64).expand(len(turned), 2),
            )
        ).max()
        for signs in ((1, 1), (1, -1))
    ]
    assert max(found).item() == pytest.approx(affine_reach(*limits), rel=3e-3)


def test_reach_is_the_least_zoom_without_a_border():
    matrices = homographies(8)
    ones = torch.ones(1, 1, 1, 15, 15).double()
    for matrix, least in zip(matrices, reach(matrices).tolist(), strict=True):
        inside = warp(ones, matrix[None], least * (1 + 1e-9))
        torch.testing.assert_close(inside, ones)
        assert warp(ones, matrix[None], least * 0.99).min() < 1 - 1e-3
    assert reach(maps()).item() == pytest.approx(1)


def test_precision_holds_under_autocast():
    clips, matrices = torch.randn(5, 3, 2, 16, 16), homographies().float()
    expected = warp(clips, matrices, 1.2)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(warp(clips, matrices, 1.2), expected)
