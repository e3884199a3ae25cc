"""Augmentation: against torch's own resizing and torchvision's colour operations, and its draws."""

from __future__ import annotations

import math

import kornia
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv

from support.specs import AUGMENT
from videossl.data.loading import augment as aug
from videossl.data.loading import resize
from videossl.data.loading.fields import CROP, FACTORS, FIELDS, SEQUENCE, Field


def plain(height: int, width: int, **values: float) -> torch.Tensor:
    """A draw that changes nothing but the given fields, over the whole frame."""
    row = torch.zeros(1, FIELDS)
    row[0, CROP] = torch.tensor([0.0, 0.0, float(height), float(width)])
    row[0, FACTORS] = 1
    row[0, SEQUENCE] = torch.tensor([0.0, 1.0, 2.0])
    for name, value in values.items():
        row[0, Field[name.upper()]] = value
    return row


def picture(height: int, width: int, frames: int = 2) -> torch.Tensor:
    """Smooth random frames (1, T, H, W, 3) uint8."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(frames, 3, 5, 5, generator=generator)
    big = F.interpolate(small, (height, width), mode="bicubic").clamp(0.1, 0.9)
    return (big.permute(0, 2, 3, 1)[None] * 255).round().byte()


def shown(x: torch.Tensor) -> torch.Tensor:
    """Back to (T, 3, S, S) in 0..1."""
    return (x * 0.225 + 0.45)[0].transpose(0, 1)


@pytest.mark.parametrize(
    ("top", "left", "side", "size"), [(0, 0, 40, 16), (8, 4, 24, 24), (3, 5, 20, 32)]
)
@pytest.mark.parametrize("flip", [0, 1])
def test_crop_and_resize_equal_torchs_antialiased_bilinear(top, left, side, size, flip):
    clip = picture(40, 48)
    draw = plain(side, side, y=top, x=left, flip=flip)
    frames = clip[0].permute(0, 3, 1, 2)[:, :, top : top + side, left : left + side]
    expected = F.interpolate(frames.float(), (size, size), mode="bilinear", antialias=True)
    expected = expected.flip(-1) if flip else expected
    exact = resize.crop(clip.float(), draw, size)[0].transpose(0, 1)  # as on a GPU
    torch.testing.assert_close(exact, expected, atol=0.05, rtol=0)
    rounded = resize.crop(clip, draw, size)[0].transpose(0, 1)
    torch.testing.assert_close(rounded, expected, atol=1.01, rtol=0)  # rounded once per axis
    assert torch.equal(rounded, rounded.round())
    assert torch.equal(shown(aug.augment(clip, draw, size)).mul(255).round(), rounded)


def test_padding_below_and_beside_smaller_frames_is_never_seen():
    clip = torch.full((1, 2, 40, 48, 3), 255, dtype=torch.uint8)
    clip[:, :, :30, :36] = 90
    for frames in (clip, clip.float()):
        out = resize.crop(frames, plain(30, 36), 20)
        torch.testing.assert_close(out, torch.full_like(out, 90), atol=1e-3, rtol=0)


def test_flip_mirrors():
    clip = picture(32, 32)
    straight = aug.augment(clip, plain(32, 32), 32)
    mirrored = aug.augment(clip, plain(32, 32, flip=1), 32)
    torch.testing.assert_close(mirrored, straight.flip(-1))


@pytest.mark.parametrize(
    ("field", "value", "operation"),
    [
        ("brightness", 1.1, lambda x: tv.adjust_brightness(x, 1.1)),
        ("saturation", 0.5, lambda x: tv.adjust_saturation(x, 0.5)),
        ("hue", 0.1, lambda x: tv.adjust_hue(x, 0.1)),
        ("gray", 1, lambda x: tv.rgb_to_grayscale(x, 3)),
    ],
)
def test_colour_equals_torchvisions(field, value, operation):
    clip = picture(32, 32)
    before = shown(aug.augment(clip, plain(32, 32), 32))
    after = shown(aug.augment(clip, plain(32, 32, **{field: value}), 32))
    torch.testing.assert_close(after, operation(before), atol=2e-3, rtol=0)


def test_contrast_is_about_the_mean_of_the_clip():
    clip = picture(32, 32)
    before = shown(aug.augment(clip, plain(32, 32), 32))
    after = shown(aug.augment(clip, plain(32, 32, contrast=0.5), 32))
    level = (before.mean((0, 2, 3)) * torch.tensor(aug.LUMA)).sum()
    torch.testing.assert_close(after, 0.5 * before + 0.5 * level, atol=1e-5, rtol=0)


def test_order_of_colour_operations_counts():
    clip = picture(32, 32)
    draw = plain(32, 32, brightness=0.8, contrast=0.6)
    other = draw.clone()
    other[0, SEQUENCE] = torch.tensor([1.0, 0.0, 2.0])
    before = shown(aug.augment(clip, plain(32, 32), 32))
    mean = (before.mean((0, 2, 3)) * torch.tensor(aug.LUMA)).sum()
    first = shown(aug.augment(clip, draw, 32))
    torch.testing.assert_close(first, 0.6 * 0.8 * before + 0.4 * 0.8 * mean, atol=1e-5, rtol=0)
    second = shown(aug.augment(clip, other, 32))
    expected = 0.8 * (0.6 * before + 0.4 * mean)
    torch.testing.assert_close(second, expected, atol=1e-5, rtol=0)


def test_blur_keeps_the_level_and_smooths():
    clip = picture(32, 32)
    clip[..., ::2, :] = 0
    before = shown(aug.augment(clip, plain(32, 32), 32))
    after = shown(aug.augment(clip, plain(32, 32, sigma=2.0), 32))
    assert after.var() < 0.5 * before.var()
    torch.testing.assert_close(after.mean(), before.mean(), atol=0.01, rtol=0)


def test_blur_is_kornias_away_from_the_border_and_each_clips_own():
    clip = picture(48, 48).expand(2, -1, -1, -1, -1)
    draws = torch.cat([plain(48, 48, sigma=0.8), plain(48, 48, sigma=2.0)])
    before = aug.augment(clip, torch.cat([plain(48, 48)] * 2), 48)
    after = aug.augment(clip, draws, 48)
    for k, sigma in enumerate((0.8, 2.0)):
        reach = math.floor(3 * sigma)
        frames = before[k].transpose(0, 1)
        kernel = (2 * reach + 1, 2 * reach + 1)
        expected = kornia.filters.gaussian_blur2d(frames, kernel, (sigma, sigma))
        found = after[k].transpose(0, 1)[..., 8:-8, 8:-8]
        torch.testing.assert_close(found, expected[..., 8:-8, 8:-8], atol=1e-4, rtol=0)
    alone = aug.augment(clip[:1], draws[:1], 48)
    torch.testing.assert_close(after[:1], alone, atol=1e-6, rtol=0)


def test_a_draw_is_the_same_for_all_frames_and_each_clip_has_its_own():
    still = picture(32, 40, frames=1).expand(2, 4, -1, -1, -1)
    rng = np.random.default_rng(3)
    draws = torch.from_numpy(np.stack([aug.draw(rng, AUGMENT, 32, 40) for _ in range(2)]))
    out = aug.augment(still, draws, 24)  # (2, 3, 4, 24, 24)
    for t in range(1, 4):
        torch.testing.assert_close(out[:, :, t], out[:, :, 0])
    assert (out[0] - out[1]).abs().max() > 0.1
    alone = torch.cat([aug.augment(still[k : k + 1], draws[k : k + 1], 24) for k in range(2)])
    torch.testing.assert_close(out, alone)


@given(st.integers(0, 2**32), st.integers(8, 300), st.integers(8, 300))
def test_draws_stay_in_their_ranges(seed, height, width):
    found = aug.draw(np.random.default_rng(seed), AUGMENT, height, width)
    y, x, h, w = found[CROP]
    assert found[CROP].tolist() == [int(value) for value in found[CROP]]
    assert min(y, x) >= 0
    assert min(h, w) >= 1
    assert y + h <= height
    assert x + w <= width
    assert ((found[FACTORS] >= 0.6 - 1e-6) & (found[FACTORS] <= 1.4 + 1e-6)).all()
    assert abs(found[Field.HUE]) <= 0.1 + 1e-6
    assert sorted(found[SEQUENCE]) == [0, 1, 2]
    if 0.75 <= width / height <= 1.333:
        assert (h + 0.5) * (w + 0.5) >= 0.3 * height * width


def test_testing_takes_the_central_square():
    assert aug.centre(40, 60)[CROP].tolist() == [0, 10, 40, 40]
    assert aug.centre(60, 40)[CROP].tolist() == [10, 0, 40, 40]
    assert aug.centre(41, 30)[CROP].tolist() == [5, 0, 30, 30]


def test_colours_are_the_networks_own():
    clips = torch.randint(256, (2, 3, 12, 14, 3), dtype=torch.uint8)
    draws = torch.from_numpy(np.stack([aug.centre(12, 14)] * 2))
    own = aug.Colours((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    plain = aug.augment(clips, draws, 8) * 0.225 + 0.45
    found = aug.augment(clips, draws, 8, colours=own)
    for channel in range(3):
        expected = (plain[:, channel] - own.mean[channel]) / own.std[channel]
        torch.testing.assert_close(found[:, channel], expected)
