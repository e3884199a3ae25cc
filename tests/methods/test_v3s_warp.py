"""V3S in space: homographies, borders, flicker."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import pretext
from support.v3s_cases import SAMPLING, build, draw_labels
from videossl.data.loading.augment import SLOWFAST
from videossl.methods import v3s
from videossl.models.warp import sample

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


# ------------------------------------------------------------------------------------ space


def classes():
    """Every ratio with every side, at the steepest."""
    return [(r, s) for r in SAMPLING["ratios"] for s in SAMPLING["sides"]]


def row(ratio, side, shortening):
    x, y = v3s.SIDES[side]
    return [ratio, x * v3s.lean(shortening), y * v3s.lean(shortening)]


def corners(ratio, side, shortening, share):
    """Of the region, in the order (-1, -1), (1, -1), (1, 1), (-1, 1) of the result."""
    w, h = share * math.sqrt(ratio), share / math.sqrt(ratio)
    short, long = 2 * shortening / (1 + shortening), 2 / (1 + shortening)  # mean 1
    of = {"none": (1, 1, 1, 1)}  # left, right, upper, lower
    of |= {"left": (short, long, 1, 1), "right": (long, short, 1, 1)}
    of |= {"up": (1, 1, short, long), "down": (1, 1, long, short)}
    left, right, upper, lower = of[side]
    return [
        (-w * upper, -h * left),
        (w * upper, -h * right),
        (w * lower, h * right),
        (-w * lower, h * left),
    ]


def perspective(quad):
    """The homography from the square to a quadrilateral, from its eight equations."""
    rows, values = [], []
    for (x, y), (u, v) in zip([(-1, -1), (1, -1), (1, 1), (-1, 1)], quad, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows, float), values), 1).reshape(3, 3)


@pytest.mark.parametrize("shortening", [0.5, 0.6, 1.0])
@pytest.mark.parametrize(("ratio", "side"), classes())
def test_homographies_take_the_square_to_the_region(ratio, side, shortening):
    share = v3s.zoom(SAMPLING["ratios"], v3s.lean(0.5))
    rows = torch.tensor([row(ratio, side, shortening)], dtype=torch.float64)
    quad = np.array(corners(ratio, side, shortening, share))
    found = v3s.homographies(rows, share)[0].numpy()
    np.testing.assert_allclose(found, perspective(quad), atol=1e-12)
    assert np.abs(quad).max() <= 1 + 1e-12  # inside the clip
    x, y = quad.T  # the area of every class is the same
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(4 * share**2)


def test_zoom_is_the_largest_that_shows_no_border():
    share = v3s.zoom(SAMPLING["ratios"], v3s.lean(0.5))
    reach = [np.abs(corners(r, s, 0.5, share)).max() for r, s in classes()]
    assert max(reach) == pytest.approx(1)
    assert v3s.zoom([1.0], 0.0) == 1


def sampled(clip, matrix):
    """Bilinear sampling of (S, S) in plain numbers; outside is an error."""
    size = len(clip)
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            x, y, w = matrix @ [(2 * j + 1) / size - 1, (2 * i + 1) / size - 1, 1.0]
            column, line = ((x / w + 1) * size - 1) / 2, ((y / w + 1) * size - 1) / 2
            c, r = min(math.floor(column), size - 2), min(math.floor(line), size - 2)
            assert min(c, r) >= 0
            a, b = column - c, line - r
            upper = (1 - a) * clip[r, c] + a * clip[r, c + 1]
            lower = (1 - a) * clip[r + 1, c] + a * clip[r + 1, c + 1]
            out[i, j] = (1 - b) * upper + b * lower
    return out


@pytest.mark.parametrize(("ratio", "side"), classes())
def test_warp_equals_plain_sampling(ratio, side):
    size, share = 12, v3s.zoom(SAMPLING["ratios"], v3s.lean(0.5))
    clips = torch.randn(2, 3, 2, size, size, dtype=torch.float64)
    rows = torch.tensor([row(1.0, "none", 0.5), row(ratio, side, 0.5)], dtype=torch.float64)
    found = sample(clips, v3s.homographies(rows, share), centres=False)
    matrix = perspective(corners(ratio, side, 0.5, share))
    for channel in range(3):
        for time in range(2):
            expected = sampled(clips[1, channel, time].numpy(), matrix)
            np.testing.assert_allclose(found[1, channel, time], expected, rtol=1e-9, atol=1e-9)


@EXAMPLES
@given(
    low=st.floats(0.1, 1),
    place=st.floats(0, 1),
    ratio=st.floats(0.125, 8),
    side=st.sampled_from(SAMPLING["sides"]),
    size=st.integers(4, 32),
)
def test_no_border_is_ever_seen(low, place, ratio, side, size):
    share = v3s.zoom([1.0, ratio], v3s.lean(low))
    rows = torch.tensor([row(ratio, side, low + place * (1 - low))], dtype=torch.float64)
    ones = torch.ones(1, 3, 2, size, size, dtype=torch.float64)  # beyond the border is zero
    torch.testing.assert_close(sample(ones, v3s.homographies(rows, share), centres=False), ones)


def test_no_draw_shows_a_border():
    method = build(task={"shortening": [0.3, 0.9]}, size=32).double()
    labels = draw_labels(method, 200).double()
    ones = torch.ones(200, 3, 8, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(method.transform(ones, labels), ones, atol=1e-5, rtol=0)


def test_a_region_beyond_the_clip_would_show():
    rows = torch.tensor([row(2.0, "up", 0.5)])
    ones = torch.ones(1, 3, 2, 16, 16)
    share = 1.1 * v3s.zoom([2.0], v3s.lean(0.5))
    assert sample(ones, v3s.homographies(rows, share), centres=False).min() < 0.9


def test_without_transforms_nothing_changes():
    method = build(task={"ratios": [1.0], "sides": ["none"]})
    clips = torch.randn(4, 3, 8, 16, 16)
    found = method.transform(clips, draw_labels(method, 4))
    torch.testing.assert_close(found, clips)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)


def test_autocast_changes_no_place_and_no_loss():
    method = build()
    clips, labels = torch.randn(4, 3, 8, 16, 16), draw_labels(method, 4)
    logits, classes = torch.randn(4, 15), labels[:, v3s.CLASSES].long()
    with torch.autocast("cpu", torch.bfloat16):
        inside = method.transform(clips, labels), method.recognise(logits, classes)[0]
        out = pretext.forward(method, [clips], torch.arange(4), labels)
    assert torch.equal(inside[0], method.transform(clips, labels))
    assert torch.equal(inside[1], method.recognise(logits, classes)[0])
    assert out["loss"].dtype == torch.float32


def test_flicker_changes_frames_one_by_one():
    clips = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64)
    brightness = torch.rand(2, 4, dtype=torch.float64) + 0.5
    contrast = torch.rand(2, 4, dtype=torch.float64) + 0.5
    found = v3s.flicker(clips, brightness, contrast, SLOWFAST)
    for b in range(2):
        for t in range(4):
            level = clips[b, :, t].numpy() * 0.225 + 0.45
            level = (level - level.mean()) * contrast[b, t].item() + level.mean()
            level = np.clip(level * brightness[b, t].item(), 0, 1)
            np.testing.assert_allclose(found[b, :, t] * 0.225 + 0.45, level, atol=1e-12)


def test_flicker_is_applied_where_asked_for():
    method = build(frame_jitter=0.5, task={"ratios": [1.0], "sides": ["none"]})
    clips = torch.zeros(3, 3, 8, 16, 16)  # gray, so contrast does nothing
    labels = draw_labels(method, 3)
    found = method.transform(clips, labels)
    level = (found * 0.225 + 0.45).mean(dim=(1, 3, 4))
    torch.testing.assert_close(level, 0.45 * labels[:, v3s.FLICKER][:, :8])  # brightness
