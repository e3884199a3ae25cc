"""Clips of several kinds reach a method: frames, plain frames, motion, and what was drawn."""

import numpy as np
import pytest
import torch

from support import pretext
from support.specs import AUGMENT, FLOW
from videossl.data.loading import loader
from videossl.data.loading.device_clips import motion, to_device_clips
from videossl.data.loading.fields import FIELDS, GEOMETRY
from videossl.data.loading.sampling import ClipRequest, window

EDGES = FLOW.model_copy(update={"content": "edges"})


def plain(height, width, flip=0.0, y=0.0, x=0.0):
    draw = torch.zeros(1, FIELDS)
    draw[0, GEOMETRY] = torch.tensor([y, x, height, width, flip])
    return draw


def stored(u, v, size=24):
    """Flow (1, T=2, P=2, H, W, 1) of ``u`` and ``v`` pixels everywhere."""
    level = lambda x: round(128 + 127 * x / FLOW.bound)  # noqa: E731
    planes = [torch.full((1, 2, 1, size, size, 1), level(x), dtype=torch.uint8) for x in (u, v)]
    return torch.cat(planes, dim=2)


def test_flow_is_in_pixels_of_the_result():
    whole = motion(stored(5.0, -2.5), plain(24, 24), 24, FLOW)
    assert whole.shape == (1, 2, 2, 24, 24)
    assert whole[:, 0].mean().item() == pytest.approx(5.0, abs=0.08)  # half a level of 8 bits
    assert whole[:, 1].mean().item() == pytest.approx(-2.5, abs=0.08)
    # half as wide and a third as high a crop shown as large: vectors grow likewise
    part = motion(stored(5.0, -2.5), plain(8, 12, y=3, x=4), 24, FLOW)
    assert part[:, 0].mean().item() == pytest.approx(10.0, abs=0.2)
    assert part[:, 1].mean().item() == pytest.approx(-7.5, abs=0.3)


def test_a_flip_negates_u_and_mirrors():
    image = stored(5.0, 3.0)
    image[..., :12, :] = 128  # nothing moves in the left half
    straight = motion(image, plain(24, 24), 24, FLOW)
    mirrored = motion(image, plain(24, 24, flip=1.0), 24, FLOW)
    torch.testing.assert_close(mirrored[:, 0], -straight[:, 0].flip(-1))
    torch.testing.assert_close(mirrored[:, 1], straight[:, 1].flip(-1))
    assert straight[..., :12].abs().max() == 0


def test_edges_are_shares_of_the_bound():
    image = torch.full((1, 3, 1, 24, 24, 1), 51, dtype=torch.uint8)
    out = motion(image, plain(24, 24), 16, EDGES)
    assert out.shape == (1, 1, 3, 16, 16)
    torch.testing.assert_close(out, torch.full_like(out, 0.2))


def requests(rng, num_frames):
    start = int(rng.integers(num_frames))
    frames = window(num_frames, start, 4, 2)
    drawn = float(rng.integers(10))
    return [
        ClipRequest(frames, 0, labels=(drawn, start)),
        ClipRequest(frames, 0, "plain"),
        ClipRequest(frames[:3], 0, "motion", labels=(7.0,)),
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_holds_every_kind(workers):
    store = pretext.Store()
    source = loader.TrainBatches(
        store, range(16), requests, AUGMENT, 8, 0, pretext.Motions(FLOW)
    ).between(0, 4)
    for step, batch in zip(source.steps(), loader.batches(source, workers), strict=True):
        augmented, same, moving = to_device_clips(batch, 16)
        assert augmented.shape == (8, 3, 4, 16, 16)
        assert moving.shape == (8, 2, 3, 16, 16)
        assert same.min() >= 0
        assert same.max() > 10  # grey levels, not shares
        torch.testing.assert_close(batch.draws[0], batch.draws[2])  # one draw, one crop
        assert batch.labels.shape == (8, 3)
        for row, video in enumerate(batch.video.tolist()):
            sample = source.sample(step // source.steps_per_epoch, video, video)
            drawn = [value for request, _ in sample for value in request.labels]
            assert batch.labels[row].tolist() == drawn
            expected = store.pixels[video][sample[1][0].frames]
            np.testing.assert_array_equal(batch.clips[1][row, :, 0].numpy(), expected)
        first, second = batch.split(2)
        assert torch.equal(torch.cat([first.labels, second.labels]), batch.labels)
        assert first.kinds == ["augmented", "plain", "motion"]


def test_smaller_frames_keep_their_planes_apart():
    class Mixed(pretext.Motions):
        def __init__(self):
            super().__init__(FLOW)
            for video in self.videos[::2]:
                video.height = 12
            self.pixels = np.full((16, 24, 48, 24, 1), 9, np.uint8)

        def clip(self, video, frames, out=None):
            height = self.videos[video].height
            found = np.zeros((len(frames), 2 * height, 24, 1), np.uint8)
            found[:, height:] = 200  # v
            if out is not None:
                out[:] = found
            return found

    mixed = Mixed()
    frames = pretext.Store()
    frames.videos = mixed.videos
    frames.clip = lambda video, chosen, out=None: np.zeros(
        (len(chosen), mixed.videos[video].height, 24, 3), np.uint8
    )
    source = loader.TrainBatches(frames, range(16), requests, AUGMENT, 16, 0, mixed)
    source.store_of = lambda kind: mixed if kind == "motion" else frames
    wide = loader.TrainBatches(frames, [0, 2], requests, AUGMENT, 2, 0, mixed)
    (batch,) = loader.batches(wide.between(0, 1))
    assert (batch.clips[2][:, :, 1] == 200).all()  # all of 12 rows: read in place
    (batch,) = loader.batches(source.between(0, 1))
    for row, video in enumerate(batch.video.tolist()):
        height = mixed.videos[video].height
        clip = batch.clips[2][row]
        assert (clip[:, 0] == 0).all()
        assert (clip[:, 1, :height] == 200).all()
        assert (clip[:, 1, height:] == 0).all()
