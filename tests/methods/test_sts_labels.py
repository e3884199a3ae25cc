"""Labels of STS: patterns, motion, colour, flips, requests."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sts_cases import MIRRORS, SIZE, T, labelled, noise
from videossl.methods import sts_labels as labels
from videossl.methods.sts_labels import IGNORED, NAMES, Patterns

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


# ------------------------------------------------------------------------------------ patterns


def published(size):
    """The blocks as slices and triangles of arrays, for sizes that 8 divides; (28, S, S)."""
    eighth, half = size // 8, size // 2
    blocks = np.zeros((28, size, size), bool)
    for k in range(16):
        row, column = divmod(k, 4)
        quarter = 2 * eighth
        blocks[k, row * quarter :, column * quarter :][:quarter, :quarter] = True
    inner = np.zeros((size, size), bool)
    for k in range(4):
        square = np.zeros((size, size), bool)
        inside = slice((3 - k) * eighth, size - (3 - k) * eighth)
        square[inside, inside] = True
        blocks[16 + k] = square & ~inner
        inner = square
    low, high = np.tri(half, dtype=bool), np.tri(half, dtype=bool).T
    places = [
        *((0, 0, low), (0, 0, high), (0, 1, high[:, ::-1]), (0, 1, low[:, ::-1])),
        *((1, 0, high[:, ::-1]), (1, 0, low[:, ::-1]), (1, 1, low), (1, 1, high)),
    ]
    for k, (row, column, triangle) in enumerate(places):
        blocks[20 + k, row * half :, column * half :][:half, :half] = triangle
    return blocks


@pytest.mark.parametrize("size", [16, 112])
def test_patterns_are_the_published_pixels(size):
    masks = Patterns(size).masks.view(29, size, size)
    np.testing.assert_array_equal(masks[:28].bool().numpy(), published(size))
    assert masks[28].eq(1).all()
    if size == 112:
        assert masks[:16].sum((1, 2)).tolist() == [784] * 16
        assert masks[16:20].sum((1, 2)).tolist() == [784, 2352, 3920, 5488]
        assert masks[20:28].sum((1, 2)).tolist() == [1596] * 8


def test_pixels_on_a_border_are_in_both_blocks():
    masks = Patterns(18).masks.view(29, 18, 18)  # some centres lie on the lines of grid and rings
    assert masks[:16].sum(0).unique().tolist() == [1, 2, 4]
    assert masks[16:20].sum(0).unique().tolist() == [1, 2]
    assert masks[20:28].sum(0).unique().tolist() == [1, 2]


@EXAMPLES
@given(size=st.integers(16, 130))
def test_patterns_of_any_size_cover_the_frame_and_are_symmetric(size):
    patterns = Patterns(size)
    masks = patterns.masks.view(29, size, size)
    parts = {1: masks[:16], 2: masks[16:20], 3: masks[20:28]}
    for number, part in parts.items():
        assert part.sum(0).min() >= 1
        assert torch.equal(part.flip(-1), part[MIRRORS[number]])
        share = part.sum((1, 2)) / size**2
        expected = {1: [1 / 16] * 16, 2: [1 / 16, 3 / 16, 5 / 16, 7 / 16], 3: [1 / 8] * 8}
        assert (share - torch.tensor(expected[number])).abs().max() < 2 / size
    assert torch.equal(patterns.regions[patterns.region].T, patterns.masks)


# ------------------------------------------------------------------------------------ labels


def alone(scores):
    """Index of the largest of a list, if it is the largest alone."""
    best = max(scores)
    return scores.index(best) if scores.count(best) == 1 else IGNORED


def written_out(clips, shown, row, levels):
    """Labels and concentration of one row in plain loops, from the paper's definitions."""
    colour, flow = (clips[k][row].double().numpy() for k in (1, 2))
    size, flows = flow.shape[-1], flow.shape[1]
    blocks = published(size)
    limit = lambda k: min(max(k, 0), size - 1)  # noqa: E731
    motion, share = {}, []
    for name, field in zip("uv", flow, strict=True):
        total, per_frame = np.zeros((2, size, size)), []
        for n in range(flows):
            gradient = np.zeros((2, size, size))
            for y in range(size):
                for x in range(size):
                    for k in (-1, 0, 1):
                        at = limit(y + k), limit(x + k)
                        gradient[0, y, x] += field[n, at[0], limit(x + 1)]
                        gradient[0, y, x] -= field[n, at[0], limit(x - 1)]
                        gradient[1, y, x] += field[n, limit(y + 1), at[1]]
                        gradient[1, y, x] -= field[n, limit(y - 1), at[1]]
            counts = float(shown[row, n])
            total += counts * gradient
            per_frame.append(counts * np.hypot(*gradient).sum())
        length = np.hypot(*total)
        angle = np.degrees(np.arctan2(total[1], total[0])) % 360
        means = [float(length[block].mean()) for block in blocks]
        for pattern, first, last in ((1, 0, 16), (2, 16, 20), (3, 20, 28)):
            best = alone(means[first:last])
            bins = [0.0] * 8
            for y, x in zip(*np.nonzero(blocks[first + best]), strict=True):
                bins[int(angle[y, x] // 45)] += length[y, x]
            motion[f"p_{name}_{pattern}"], motion[f"o_{name}_{pattern}"] = best, alone(bins)
        motion[f"I_{name}"] = alone(per_frame)
        share.append(max(means[:16]) * (size // 4) ** 2 / length.sum())
    return {**motion, **colours_written_out(colour, blocks, levels)}, max(share)


def colours_written_out(colour, blocks, levels):
    found, alike = {}, iou_written_out(colour, blocks, levels)

    def dominant(block):
        counts = [0] * 8
        for y, x in zip(*np.nonzero(block), strict=True):
            for red, green, blue in colour[:, :, y, x].T:
                counts[4 * (red >= 128) + 2 * (green >= 128) + (blue >= 128)] += 1
        return alone(counts)

    for pattern, first, last in ((1, 0, 16), (2, 16, 20), (3, 20, 28)):
        for name, scores in (("l", [-x for x in alike]), ("s", alike)):
            best = alone(scores[first:last])
            chosen = IGNORED if best == IGNORED else dominant(blocks[first + best])
            found[f"p_{name}_{pattern}"], found[f"c_{name}_{pattern}"] = best, chosen
    found["C"] = dominant(np.ones(colour.shape[-2:], bool))
    return found


def iou_written_out(colour, blocks, levels):
    alike = []
    for block in blocks:
        shares = []
        for channel in colour:
            histograms = []
            for frame in channel:
                counts = [0] * levels
                for value in frame[block]:
                    counts[int(value) * levels // 256] += 1
                histograms.append(counts)
            bins = list(zip(*histograms, strict=True))
            shares.append(sum(map(min, bins)) / sum(map(max, bins)))
        alike.append(sum(shares) / 3)
    return alike


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("levels", [256, 20])
def test_labels_are_those_of_plain_loops(dtype, levels):
    clips, shown = noise(batch=4)
    shown[1:3, 2] = 0
    clips = [clip.to(dtype) for clip in clips]
    found = labels.label(clips[2], shown, clips[1], Patterns(SIZE), levels, 1e-4)
    for row in range(len(shown)):
        expected, concentration = written_out(clips, shown, row, levels)
        assert dict(zip(NAMES, found.values[row].tolist(), strict=True)) == expected
        rel = 1e-6 if dtype == torch.float64 else 1e-5
        assert found.concentration[row].item() == pytest.approx(concentration, rel=rel)


def test_stability_is_that_of_plain_loops():
    clips, _ = noise(batch=2)
    found = labels.stability(clips[1].double().flatten(3), Patterns(SIZE), 256)
    for row in range(2):
        expected = iou_written_out(clips[1][row].numpy(), published(SIZE), 256)
        assert found[row, :28].tolist() == pytest.approx(expected, rel=1e-6)
        assert 0 < min(expected) < max(expected) < 1


def test_there_are_27_labels_and_their_classes():
    assert len(NAMES) == len(set(NAMES)) == 27
    assert NAMES[: labels.MOTION][-2:] == ("I_u", "I_v")
    of_pattern = [16, 8, 16, 8, 4, 8, 4, 8, 8, 8, 8, 8]
    assert labels.classes(15) == [*of_pattern, 15, 15, *of_pattern, 8]
    clips, shown = noise(batch=200)
    found = labels.label(clips[2], shown, clips[1], Patterns(SIZE), 256, 1e-4).values
    for name, column, count in zip(NAMES, found.T, labels.classes(T - 1), strict=True):
        assert column.max() < count
        assert column[column != IGNORED].min() >= 0
        if name in NAMES[: labels.MOTION]:
            assert len(column[column != IGNORED].unique()) == count, name


def test_orientations_on_axes_and_diagonals():
    x = torch.tensor([1, 1, 0, -1, -1, -1, 0, 1.0])
    y = torch.tensor([0, 1, 1, 1, 0, -1, -1, -1.0])
    assert labels.orientation(x, y).tolist() == list(range(8))
    less = x + 1e-3 * y, y - 1e-3 * x  # turned back a little
    assert labels.orientation(*less).tolist() == [7, 0, 1, 2, 3, 4, 5, 6]
    assert labels.orientation(torch.tensor(1.0), torch.tensor(-0.0)).item() == 0


@pytest.mark.parametrize("block", range(28))
def test_a_moving_square_is_found(block):
    size, side = 64, 4
    inside = torch.from_numpy(published(size)[block]).float()
    # a square with two pixels around it, all in the block
    room = torch.nn.functional.avg_pool2d(inside[None, None], side + 4, 1)[0, 0] == 1
    y, x = (int(k) + 2 for k in room.nonzero()[-1])
    flow = torch.zeros(1, 2, 4, size, size)
    flow[:, 0, :, y : y + side, x : x + side] = 3
    flow[:, 1, :, y : y + side, x : x + side] = -2
    (found,) = labelled([None, torch.zeros(1, 3, 5, size, size), flow], torch.ones(1, 4))
    pattern, first = (1, 0) if block < 16 else (2, 16) if block < 20 else (3, 20)
    assert found[f"p_u_{pattern}"] == found[f"p_v_{pattern}"] == block - first


def test_orientation_points_to_larger_flow():
    ramps = {0: (1, 0.2), 1: (0.2, 1), 2: (-0.2, 1), 3: (-1, 0.2), 4: (-1, -0.2), 6: (0.2, -1)}
    grid = torch.arange(SIZE).float()
    for expected, (right, down) in ramps.items():
        flow = torch.zeros(1, 2, 1, SIZE, SIZE)
        flow[:, 0] = right * grid[None, :] + down * grid[:, None]
        flow[:, 1] = -flow[:, 0]
        gradient = labels.boundary(flow)[0, :, :, 0, 4, 5].tolist()  # per pixel
        assert gradient == [pytest.approx([right, down]), pytest.approx([-right, -down])]
        flow[:, :, :, 4:8, 8:12] *= 2  # one block stands out
        (found,) = labelled([None, torch.zeros(1, 3, 2, SIZE, SIZE), flow], torch.ones(1, 1))
        assert found["p_u_1"] == found["p_v_1"]
        assert (found["o_u_1"], found["o_v_1"]) == (expected, (expected + 4) % 8)


def test_the_frame_of_the_largest_motion():
    clips, shown = noise(batch=1)
    clips[2][:, 0, 3] *= 3
    clips[2][:, 1, 1] *= 3
    (found,) = labelled(clips, shown)
    assert (found["I_u"], found["I_v"]) == (3, 1)
    shown[0, 3] = 0
    (found,) = labelled(clips, shown)
    assert found["I_u"] != 3
    assert found["I_v"] == 1


def test_flow_across_a_seam_has_no_effect():
    clips, shown = noise()
    shown[:, 2] = 0
    before = labels.label(clips[2], shown, clips[1], Patterns(SIZE), 256, 1e-4)
    clips[2][:, :, 2] = 50 * torch.randn_like(clips[2][:, :, 2])
    after = labels.label(clips[2], shown, clips[1], Patterns(SIZE), 256, 1e-4)
    assert torch.equal(before.values, after.values)
    assert torch.equal(before.concentration, after.concentration)


@pytest.mark.parametrize("velocity", [(0.0, 0.0), (7.3, -2.1)])
def test_one_motion_of_the_whole_frame_is_ignored(velocity):
    clips, shown = noise()
    flow = torch.tensor(velocity)[None, :, None, None, None].expand(2, 2, 4, SIZE, SIZE)
    clips[2][:2] = flow * (1 + 1e-6 * torch.randn(2, 2, 4, SIZE, SIZE))  # rounding
    found = labels.label(clips[2], shown, clips[1], Patterns(SIZE), 256, 1e-4)
    ignored = found.values[:, : labels.MOTION] == IGNORED
    assert ignored[:2].all()
    assert not ignored[2:].any()
    assert found.concentration[:2].eq(0).all()
    assert found.concentration[2:].gt(0).all()


def test_a_static_clip_is_alike_everywhere_and_has_one_label():
    clips, shown = noise()
    clips[1][:2] = clips[1][:2, :, :1]
    patterns = Patterns(SIZE)
    assert labels.stability(clips[1][:2].flatten(3), patterns, 256).eq(1).all()
    found = labelled(clips, shown)
    for name in NAMES[labels.MOTION : -1]:
        assert found[0][name] == found[1][name] == IGNORED
        assert found[2][name] != IGNORED or name.startswith("c")
    assert found[0]["C"] != IGNORED


@pytest.mark.parametrize("block", range(28))
def test_a_flashing_block_is_found_and_its_colour(block):
    mask = torch.from_numpy(published(32)[block])
    colour = torch.full((1, 3, T, 32, 32), 10.0)
    for t in range(T):
        colour[0, 0, t, mask] = 200.0 + t  # red, in a level of its own
    (found,) = labelled([None, colour, torch.zeros(1, 2, T - 1, 32, 32)], torch.ones(1, T - 1))
    pattern = 1 if block < 16 else 2 if block < 20 else 3
    first = {1: 0, 2: 16, 3: 20}[pattern]
    assert found[f"p_l_{pattern}"] == block - first
    assert found[f"c_l_{pattern}"] == 4
    assert found["C"] == 0
    still = 255 - colour  # all but one block change, so that one is the most stable
    for t in range(T):
        still[0, 0, t, ~mask] -= t
        still[0, 0, t, mask] = 60.0
    (found,) = labelled([None, still, torch.zeros(1, 2, T - 1, 32, 32)], torch.ones(1, T - 1))
    assert found[f"p_s_{pattern}"] == block - first
    assert found[f"c_s_{pattern}"] == 3


@pytest.mark.parametrize("code", range(8))
def test_a_solid_colour(code):
    bright = torch.tensor([code >> 2 & 1, code >> 1 & 1, code & 1]) * 128.0 + 127 * (code % 2)
    colour = torch.minimum(bright, torch.tensor([128, 255, 255.0]))
    bits = [int(value >= 128) for value in colour]
    clip = colour[None, :, None, None, None].expand(1, 3, T, SIZE, SIZE)
    (found,) = labelled([None, clip, torch.zeros(1, 2, T - 1, SIZE, SIZE)], torch.ones(1, T - 1))
    assert found["C"] == 4 * bits[0] + 2 * bits[1] + bits[2]


def test_pixels_between_blocks_count_once_in_the_whole_clip():
    colour = torch.full((1, 3, T, 18, 18), 0.0)
    colour[..., [4, 13], :] = 255  # the grid's lines at this size, in two blocks each
    colour[..., [4, 13]] = 255
    colour[..., :4, :] = 255
    assert 0.4 < colour.mean() / 255 < 0.5
    (found,) = labelled([None, colour, torch.zeros(1, 2, T - 1, 18, 18)], torch.ones(1, T - 1))
    assert found["C"] == 0


def test_ties_are_ignored():
    scores = torch.tensor([[1.0, 3, 2], [3, 1, 3], [0, 0, 0], [0.1, 0, 0]])
    assert labels.winner(scores, 0).tolist() == [1, IGNORED, IGNORED, 0]
    assert labels.winner(scores, 0.1).tolist() == [1, IGNORED, IGNORED, IGNORED]
    assert labels.winner(torch.ones(2, 1), 0).tolist() == [0, 0]


def test_autocast_does_not_reach_labels():
    clips, shown = noise(batch=20)
    expected = labelled(clips, shown)
    with torch.autocast("cpu", torch.bfloat16):
        assert labelled(clips, shown) == expected


# ------------------------------------------------------------------------------------ portions


def test_labels_of_a_video_do_not_depend_on_the_others(monkeypatch):
    """A batch of more than two portions, worked on as such, whole, and video by video."""
    count = 2 * labels.AT_ONCE + 3
    (_, clip, flow), shown = noise(count)
    shown[::3, 1] = 0

    def found(videos):
        args = (flow[videos], shown[videos], clip[videos], Patterns(SIZE), 100, 1e-4)
        return labels.label(*args)

    portions = found(slice(None))
    alone = [found(slice(video, video + 1)) for video in range(count)]
    monkeypatch.setattr(labels, "AT_ONCE", count)
    whole = found(slice(None))
    assert torch.equal(portions.values, whole.values)
    assert torch.equal(portions.concentration, whole.concentration)
    assert torch.equal(portions.values, torch.cat([one.values for one in alone]))
