"""What VTDL asks for of a video, and its blend: no network runs here."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videossl.data.loading.sampling import span
from videossl.methods import vtdl
from videossl.study import schema

EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True)


class Tiny(torch.nn.Module):
    num_features = 2


def build(alpha=0.1, apply_to="both", frames=8, stride=1, gap=0, least_gap=0):
    params = schema.VTDL.model_construct(gap=gap, least_gap=least_gap, dim=2, queue=1)
    clip = schema.Clip(frames=frames, stride=stride, size=16)
    return vtdl.build(params, schema.TCA(alpha=alpha, apply_to=apply_to), clip, Tiny())


# ------------------------------------------------------------------------------------ intervals


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.integers(1, 200),
    frames=st.integers(2, 16),
    stride=st.integers(1, 4),
    gap=st.integers(0, 30),
    shrink=st.integers(0, 60),
)
def test_the_negative_is_another_interval_or_does_not_count(
    seed, num_frames, frames, stride, gap, shrink
):
    length = span(frames, stride)
    least = max(gap - shrink, 1 - length)
    method = build(frames=frames, stride=stride, gap=gap, least_gap=least)
    anchor, positive, negative = method.requests(np.random.default_rng(seed), num_frames)
    assert [r.draw_id for r in (anchor, positive, negative)] == [0, 1, 2]
    assert [r.kind for r in (anchor, positive, negative)] == ["augmented"] * 3
    np.testing.assert_array_equal(anchor.frames, positive.frames)
    for r in (anchor, positive, negative):
        assert r.frames.shape == (frames,)
        assert r.frames.dtype == np.int64
        assert 0 <= r.frames.min() <= r.frames.max() < num_frames
    (counts,) = negative.labels
    assert counts == (num_frames >= 2 * length + least)
    if counts:  # then nothing loops, and frames between the two can be read off
        early, late = sorted((anchor.frames, negative.frames), key=lambda f: f[0])
        assert set(np.diff(early)) == set(np.diff(late)) == {stride}
        assert late[0] - early[-1] - 1 >= min(gap, num_frames - 2 * length) >= least
        if least >= 0:
            assert early[-1] < late[0]


def test_all_pairs_of_intervals_are_equally_likely():
    rng = np.random.default_rng(0)
    drawn = [vtdl.intervals(rng, 20, 5, 2, 0) for _ in range(9000)]
    assert all(apart for *_, apart in drawn)
    pairs, counts = np.unique([pair[:2] for pair in drawn], axis=0, return_counts=True)
    possible = [[a, b] for a in range(16) for b in range(16) if abs(a - b) >= 7]
    assert pairs.tolist() == possible  # 90 of them: 100 expected, standard deviation 10
    assert counts.min() > 60
    assert counts.max() < 140


@pytest.mark.parametrize(
    ("num_frames", "distance"), [(13, 8), (12, 7), (11, 6), (10, 5), (9, 4), (8, 3), (7, None)]
)
def test_the_gap_shrinks_as_far_as_needed_and_no_further(num_frames, distance):
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second, apart = vtdl.intervals(rng, num_frames, 5, 3, -2)
        assert apart == (distance is not None)
        assert not apart or abs(first - second) == distance
        assert max(first, second) <= num_frames - 5


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    alpha=st.floats(0, 1),
    apply_to=st.sampled_from(["anchor", "positive", "both"]),
)
def test_blends_are_drawn_for_the_clips_they_apply_to(seed, alpha, apply_to):
    method = build(alpha=alpha, apply_to=apply_to)
    anchor, positive, negative = method.requests(np.random.default_rng(seed), 90)
    for role, request in (("anchor", anchor), ("positive", positive)):
        share, frame = request.labels
        assert 0 <= share <= alpha
        assert frame in range(8)
        if apply_to not in (role, "both"):
            assert share == 0
    assert negative.labels == (1.0,)


def test_shares_and_frames_are_uniform_and_independent():
    method, rng = build(alpha=0.4), np.random.default_rng(0)
    drawn = [[r.labels for r in method.requests(rng, 90)[:2]] for _ in range(4000)]
    for values in np.array(drawn).transpose(1, 2, 0):  # of a role: (2, draws)
        shares, frames = values
        np.testing.assert_allclose(
            np.quantile(shares, [0.25, 0.5, 0.75]), [0.1, 0.2, 0.3], atol=0.02
        )
        assert np.bincount(frames.astype(int), minlength=8).min() > 400  # 500 expected
    together = np.array(drawn).reshape(len(drawn), 4).T
    assert np.abs(np.corrcoef(together) - np.eye(4)).max() < 0.06


def test_requests_depend_on_the_generator_alone():
    method = build()
    a, b = (method.requests(np.random.default_rng([3, 7]), 90) for _ in range(2))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.frames, y.frames)
        assert x.labels == y.labels


# ------------------------------------------------------------------------------------ TCA


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    order=st.integers(1, 4),
    shares=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_derivatives_of_any_order_scale_by_one_constant(seed, order, shares):
    g = torch.Generator().manual_seed(seed)
    clip = torch.randn(3, 2, 7, 4, 5, generator=g, dtype=torch.float64)
    frame = torch.randint(7, (3,), generator=g).float()
    share = torch.tensor(shares, dtype=torch.float64)
    blended = vtdl.static_blend(clip, share, frame)
    scale = (1 - share).view(3, 1, 1, 1, 1)
    torch.testing.assert_close(
        blended.diff(n=order, dim=2), scale * clip.diff(n=order, dim=2), rtol=1e-9, atol=1e-11
    )
    # not by being another clip: the frame itself stays, all move towards it
    for row, k in enumerate(frame.long().tolist()):
        torch.testing.assert_close(blended[row, :, k], clip[row, :, k])
        still = clip[row, :, k : k + 1]
        expected = (1 - shares[row]) * clip[row] + shares[row] * still
        torch.testing.assert_close(blended[row], expected)


def test_a_share_of_zero_changes_nothing_and_of_one_leaves_a_still():
    clip = torch.randn(2, 3, 5, 4, 4) * 50
    blended = vtdl.static_blend(clip, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 4.0]))
    assert torch.equal(blended[0], clip[0])
    torch.testing.assert_close(blended[1], clip[1, :, 4:].expand(3, 5, 4, 4))
