import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specs import PLAIN
from videossl import params, schema
from videossl.data.augment import FIELDS
from videossl.data.clips import ClipRequest
from videossl.data.loader import Batch
from videossl.data.views import views
from videossl.job import UserError
from videossl.methods import sts
from videossl.methods import sts_labels as labels
from videossl.methods.sts_labels import IGNORED, NAMES, Patterns
from videossl.models import resnet3d

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
SIZE, T = 16, 5
TASK = {
    "target": "classification",
    "motion_weight": 1.0,
    "appearance_weight": 0.1,
    "levels": 256,
    "still": 1e-4,
    "curriculum": 0.0,
}
MIRROR = [4 * row + 3 - column for row in range(4) for column in range(4)]
MIRRORS = {1: MIRROR, 2: [0, 1, 2, 3], 3: [3, 2, 1, 0, 7, 6, 5, 4]}
FLOW = schema.Motion(
    algorithm="dis", content="flow", step=1, bound=20.0, codec="raw", quality=95, shard_megabytes=1
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(frames=T, stride=1, size=SIZE, **changes):
    encoder = resnet3d.build(schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4))
    clip = schema.Clip(frames=frames, stride=stride, size=size)
    optimizer = schema.Optimizer(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.0, **PLAIN)
    method = schema.STS(task="statistics", motion="flow", optimizer=optimizer)
    return sts.build(method, schema.Statistics(**{**TASK, **changes}), clip, encoder)


def noise(batch=6, frames=T, size=SIZE, palette=12):
    """Frames, colours that come back from frame to frame, and flow; which flows count."""
    levels = torch.randint(256, (palette,))
    colour = levels[torch.randint(palette, (batch, 3, frames, size, size))].float()
    flow = torch.randn(batch, 2, frames - 1, size, size)
    clips = [torch.randn(batch, 3, frames, size, size), colour, flow]
    return clips, torch.ones(batch, frames - 1)


def labelled(clips, shown, levels=256, still=1e-4):
    found = labels.label(clips[2], shown, clips[1], Patterns(clips[1].shape[-1]), levels, still)
    return [dict(zip(NAMES, row, strict=True)) for row in found.values.tolist()]


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


# ---------------------------------------------------------------------------------- the way here


@pytest.mark.parametrize("size", [16, 20, 21])
def test_labels_of_a_flipped_clip_are_mirrored(size):
    """From stored bytes on: frames and flow under a crop, and under the same crop flipped."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, T, 1, 8, 8, 3), np.uint8).repeat(3, 3).repeat(3, 4)
    arrows = rng.integers(1, 256, (16, T - 1, 2, 24, 24, 1), np.uint8)
    found = []
    for flip in (0.0, 1.0):
        draws = torch.zeros(16, FIELDS)
        draws[:, :5] = torch.tensor([1, 2, 20, 18, flip])
        draws[:, 5:8] = 1
        batch = Batch(
            [torch.from_numpy(x) for x in (coarse, coarse, arrows)],
            [draws] * 3,
            torch.arange(16),
            torch.zeros(16),
            [draws] * 3,
            torch.ones(16, T - 1),
            ["augmented", "plain", "motion"],
            FLOW,
        )
        found.append(labelled(views(batch, size), batch.target, levels=8))
    for straight, flipped in zip(*found, strict=True):
        for name in NAMES:
            a, b = straight[name], flipped[name]
            if IGNORED in (a, b):
                assert a == b, name
                assert name not in NAMES[: labels.MOTION]  # a tie of colours
            elif name.startswith("p_"):
                assert b == MIRRORS[int(name[-1])][a], name
            elif name.startswith("o_u"):  # u changes its sign: to the right as before, down not
                assert b == 7 - a, name
            elif name.startswith("o_v"):
                assert b == (3 - a) % 8, name
            else:
                assert a == b, name


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 300),
    frames=st.integers(2, 16),
    stride=st.integers(1, 5),
)
def test_requests_are_frames_plain_frames_and_the_flow_between(seed, num_frames, frames, stride):
    method = build(frames=frames, stride=stride)
    seen, plain, flow = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.kind for r in (seen, plain, flow)] == ["augmented", "plain", "motion"]
    assert [r.view for r in (seen, plain, flow)] == [0, 0, 0]
    assert seen.frames.shape == (frames,)
    assert seen.frames.min() >= 0
    assert seen.frames.max() < num_frames
    np.testing.assert_array_equal(seen.frames, plain.frames)
    np.testing.assert_array_equal(seen.frames[1:], flow.frames)
    assert (seen.target, plain.target) == ((), ())
    assert len(flow.target) == frames - 1
    for before, after, counts in zip(seen.frames, flow.frames, flow.target, strict=False):
        assert counts == (before + stride == after)
    assert method.span == (frames - 1) * stride + 1
    if num_frames >= method.span:
        assert set(flow.target) == {1.0}
    again = method.requests(np.random.default_rng(seed), num_frames)[2]
    np.testing.assert_array_equal(again.frames, flow.frames)


def test_sixteen_frames_have_fifteen_flows():
    method = build(frames=16)
    flow = method.requests(np.random.default_rng(0), 64)[2]
    assert isinstance(flow, ClipRequest)
    assert len(flow.frames) == len(flow.target) == 15
    assert method.head.linear.out_features == sum(labels.classes(15)) == 246


def test_its_motion_must_be_flow():
    raw = params.read(params.DEFAULT)
    raw["methods"]["sts"]["motion"] = "edges"
    with pytest.raises(UserError, match=r"methods.sts.motion = 'edges': .* flow; it has edges"):
        params.validate(raw, "params.yaml")
    raw["methods"]["sts"]["motion"] = "none"
    with pytest.raises(UserError, match=r"methods.sts.motion = 'none': must be .* content flow"):
        params.validate(raw, "params.yaml")
    raw["methods"]["sts"]["motion"] = "far"
    with pytest.raises(UserError, match=r"methods.sts.motion = 'far': must be an entry of motion"):
        params.validate(raw, "params.yaml")


# ------------------------------------------------------------------------------------ losses


def loss_written_out(method, clips, found):
    """Mean over the rows with a label, summed over labels; or mean over all labels."""
    features = method.encoder(clips[0])
    rows = (features @ method.head.linear.weight.T + method.head.linear.bias).tolist()
    classify = method.task.target == "classification"
    parts = []
    for names in (NAMES[: labels.MOTION], NAMES[labels.MOTION :]):
        terms = []
        for name in names:
            column = NAMES.index(name)
            counts = labels.classes(method.clip.frames - 1)
            start = sum(counts[:column])
            each = []
            for row, wanted in zip(rows, found, strict=True):
                label = wanted[name]
                if label == IGNORED:
                    continue
                if classify:
                    logits = row[start : start + counts[column]]
                    each.append(math.log(sum(map(math.exp, logits))) - logits[label])
                else:
                    each.append((row[column] - (label + 1)) ** 2)
            terms.append(each)
        if classify:
            parts.append(sum(sum(each) / len(each) for each in terms if each))
        else:
            parts.append(sum(map(sum, terms)) / sum(map(len, terms)))
    return method.task.motion_weight * parts[0] + method.task.appearance_weight * parts[1]


@pytest.mark.parametrize("target", ["classification", "regression"])
def test_loss_equals_the_equations(target):
    method = build(target=target, motion_weight=0.7, appearance_weight=0.3).double()
    clips, shown = noise()
    clips = [clip.double() for clip in clips]
    clips[2][1] = 0
    clips[1][2] = clips[1][2, :, :1]
    expected = loss_written_out(copy.deepcopy(method), clips, labelled(clips, shown))
    out = method(clips, torch.arange(6), shown)
    assert out["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_chance_values():
    method = build(frames=16)
    torch.nn.init.zeros_(method.head.linear.weight)
    torch.nn.init.zeros_(method.head.linear.bias)
    clips, shown = noise(frames=16, palette=4)
    out = method(clips, torch.arange(6), shown)
    of_pattern = 2 * math.log(16) + 2 * math.log(4) + 8 * math.log(8)
    motion, appearance = of_pattern + 2 * math.log(15), of_pattern + math.log(8)
    assert out["motion_loss"].item() == pytest.approx(motion, rel=1e-5)
    assert out["appearance_loss"].item() == pytest.approx(appearance, rel=1e-5)
    assert out["loss"].item() == pytest.approx(motion + 0.1 * appearance, rel=1e-5)


@pytest.mark.parametrize("target", ["classification", "regression"])
def test_right_answers_cost_nothing(target):
    method = build(target=target)
    clips, shown = noise(batch=1)
    (found,) = labelled(clips, shown)
    method.eval()
    torch.nn.init.zeros_(method.head.linear.weight)
    torch.nn.init.zeros_(method.head.linear.bias)
    counts = labels.classes(T - 1)
    for column, name in enumerate(NAMES):
        if target == "classification":
            method.head.linear.bias.data[sum(counts[:column]) + found[name]] = 30.0
        else:
            method.head.linear.bias.data[column] = found[name] + 1
    out = method(clips, torch.zeros(1), shown)
    assert out["loss"].item() < 1e-5
    assert out["motion_accuracy"].item() == out["appearance_accuracy"].item() == 1
    wrong = 10 if target == "classification" else 1
    method.head.linear.bias.data[sum(counts[:2]) if wrong == 10 else 2] += 40 * wrong
    if found["p_v_1"] != 0:
        out = method(clips, torch.zeros(1), shown)
        assert out["motion_accuracy"].item() == pytest.approx(13 / 14)


@pytest.mark.parametrize("target", ["classification", "regression"])
@pytest.mark.parametrize("curriculum", [0.0, 0.5])
def test_static_clips_have_no_motion_loss_and_finite_gradients(target, curriculum):
    method = build(target=target, curriculum=curriculum)
    clips, shown = noise()
    clips[2].zero_()
    clips[1] = clips[1][:, :, :1].expand_as(clips[1])
    out = method.training_step(clips, torch.arange(6), lambda x: x.backward(), shown)
    assert out["motion_loss"].item() == out["motion_accuracy"].item() == 0
    assert out["appearance_loss"].item() > 0  # the clips' colours
    assert all(torch.isfinite(p.grad).all() for p in method.parameters())


@pytest.mark.parametrize("target", ["classification", "regression"])
def test_gradient_reaches_encoder_and_head_and_nothing_else(target):
    method = build(target=target)
    clips, shown = noise()
    clips = [clip.requires_grad_() for clip in clips]
    out = method.training_step(clips, torch.arange(6), lambda x: x.backward(), shown)
    assert not any(value.requires_grad for value in out.values())
    for name, parameter in method.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert clips[0].grad.abs().sum() > 0
    assert clips[1].grad is None
    assert clips[2].grad is None


@pytest.mark.parametrize(("off", "first"), [("motion_weight", True), ("appearance_weight", False)])
def test_weights_switch_a_family_off(off, first):
    method = build(target="regression", **{off: 0.0})
    clips, shown = noise()
    method(clips, torch.arange(6), shown)["loss"].backward()
    moved = method.head.linear.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [not first] * 14 + [first] * 13


# -------------------------------------------------------------------------------- curriculum


def test_the_easier_half_comes_first():
    method = build(curriculum=0.4)
    clips, shown = noise(batch=7)
    found = labels.label(clips[2], shown, clips[1], method.patterns, 256, 1e-4)
    order = found.concentration.argsort(descending=True)
    easy, all_of_them = torch.zeros(7, dtype=torch.bool), torch.ones(7, dtype=torch.bool)
    easy[order[:4]] = True
    valid = found.values != IGNORED
    for progress, rows in ((0.0, easy), (0.39, easy), (0.4, all_of_them), (1.0, all_of_them)):
        method.after_step(progress)
        assert torch.equal(method._counted(found), valid & rows[:, None])
    without = build(curriculum=0.0)
    assert torch.equal(without._counted(found), valid)


def test_harder_clips_have_no_effect_on_the_loss_yet():
    method = build(curriculum=0.5).eval()  # BN's statistics would couple the rows
    clips, shown = noise()
    found = labels.label(clips[2], shown, clips[1], method.patterns, 256, 1e-4)
    hard = found.concentration.argsort()[:3]
    losses = []
    for _ in range(2):
        losses.append(method(clips, torch.arange(6), shown)["loss"].item())
        clips[0][hard] = torch.randn_like(clips[0][hard])
    assert losses[0] == losses[1]
    method.after_step(0.5)
    assert method(clips, torch.arange(6), shown)["loss"].item() != losses[0]


def test_progress_is_state():
    method = build(curriculum=0.5)
    method.after_step(0.75)
    other = build(curriculum=0.5)
    other.load_state_dict(method.state_dict())
    assert other.progress.item() == 0.75


# ------------------------------------------------------------------------------------ learning


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    here = build(curriculum=0.5).double()
    there = copy.deepcopy(here).cuda()
    clips, shown = noise()
    clips = [clip.double() for clip in clips]
    a = here.training_step(clips, torch.arange(6), lambda x: x.backward(), shown)
    b = there.training_step(
        [clip.cuda() for clip in clips],
        torch.arange(6).cuda(),
        lambda x: x.backward(),
        shown.cuda(),
    )
    torch.testing.assert_close({k: v.cpu() for k, v in b.items()}, a)
    for ours, theirs in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad.cpu(), ours.grad)
    found = labels.label(clips[2], shown, clips[1], here.patterns, 256, 1e-4)
    cuda = [x.cuda() for x in (clips[2], shown, clips[1])]
    again = labels.label(*cuda, there.patterns, 256, 1e-4)
    assert torch.equal(found.values, again.values.cpu())


def sprites(videos, size=SIZE, frames=T):
    """A bright square per video that jumps on a dark ground, with its flow."""
    rng = np.random.default_rng(0)
    colour = torch.from_numpy(rng.uniform(0, 60, (videos, 3, 1, size, size))).float()
    colour = colour.repeat(1, 1, frames, 1, 1)
    flow = torch.zeros(videos, 2, frames - 1, size, size)
    for video in range(videos):
        y, x = rng.integers(0, size - 8, 2)
        velocity = rng.choice([-2, -1, 1, 2], 2)
        for t in range(frames):
            top, left = y + max(velocity[1], 0) * t // 2, x + max(velocity[0], 0) * t // 2
            colour[video, :, t, top : top + 5, left : left + 5] = 220.0 + 4 * t
            if t:
                area = flow[video, :, t - 1, top : top + 5, left : left + 5]
                area[:] = torch.from_numpy(velocity).float()[:, None, None] * (1 + 0.2 * t)
    return [(colour / 255 - 0.45) / 0.225, colour, flow], torch.ones(videos, frames - 1)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["classification", "regression"])
def test_overfits_sixteen_videos(target):
    method = build(target=target)
    clips, shown = sprites(16)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    history = []
    for _ in range(150):
        optimizer.zero_grad()
        out = method.training_step(clips, torch.arange(16), lambda x: x.backward(), shown)
        optimizer.step()
        history.append({name: value.item() for name, value in out.items()})
    last = {name: np.mean([h[name] for h in history[-3:]]) for name in history[0]}
    assert last["loss"] < 0.3 * history[0]["loss"]
    assert last["motion_accuracy"] > 0.8
