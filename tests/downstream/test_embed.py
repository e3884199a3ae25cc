"""What embed keeps of a clip: pooled maps of several stages, side by side, and tokens."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from support import specs
from support.toy import Store
from videossl.downstream import embed, examples, features, spread, tokens
from videossl.downstream.examples import Examples
from videossl.job import Job, UserError
from videossl.models import weights
from videossl.study import reads, schema

KEY = "probe.t.features"


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return weights.build(specs.model()).eval()


@pytest.mark.parametrize("layers", [[-1], [-2, -1], [-1, -4]])
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_layers_are_pooled_and_lie_side_by_side(encoder, layers, pool):
    clips = torch.randn(3, 3, 4, 32, 32)
    described = embed.Described(encoder, layers, pool, whole=True)
    with torch.no_grad():
        found, maps = described(clips), encoder.stages(clips)
    start = 0
    for layer, width in zip(layers, described.widths, strict=True):
        wanted = maps[layer].mean((2, 3, 4)) if pool == "mean" else maps[layer].amax((2, 3, 4))
        torch.testing.assert_close(found[:, start : start + width], wanted)
        start += width
    last = maps[layers[-1]]
    rows = found[:, start:].reshape(3, -1, last.shape[1])  # (B, L, D)
    torch.testing.assert_close(rows, last.flatten(2).transpose(1, 2))


def test_tokens_survive_the_disk(tmp_path):
    x = np.random.default_rng(0).normal(size=(7, 2, 3, 5)).astype(np.float32)
    with tokens.writing(tmp_path, 7, KEY) as writer:
        for block in np.split(x, [1, 5]):
            writer.write(block)
    found = tokens.read(tmp_path, 7)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, x.astype(np.float16))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_tokens_beyond_half_precision_are_refused(tmp_path, value):
    x = np.ones((2, 1, 1, 3), np.float32)
    x[1, 0, 0, 2] = value
    with (
        pytest.raises(UserError, match=f"{KEY}.tokens: a value is not finite, or beyond"),
        tokens.writing(tmp_path, 2, KEY) as writer,
    ):
        writer.write(x)


def test_the_need_for_room_is_said_before_anything_is_written(tmp_path, capsys):
    block = np.ones((1, 64, 1024, 2048), np.float16)
    with (
        pytest.raises(UserError, match=r"tokens of 10000000 examples need 2.68e\+06 GB and .* GB"),
        tokens.writing(tmp_path, 10_000_000, KEY) as writer,
    ):
        writer.write(block)
    assert "tokens: 2.68e+06 GB of" in capsys.readouterr().out
    assert (tmp_path / tokens.FILE).stat().st_size == 0


@pytest.mark.parametrize("damage", ["absent", "short", "rows", "type"])
def test_tokens_that_are_none_are_one_line(tmp_path, damage):
    path = tmp_path / tokens.FILE
    kind = np.float32 if damage == "type" else np.float16
    np.save(path, np.ones((3 + (damage == "rows"), 1, 2, 2), kind))
    if damage == "absent":
        path.unlink()
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: .*and run again"):
        tokens.read(tmp_path, 3)


def test_widths_of_layers_survive_the_disk(tmp_path):
    features.write_layers(tmp_path, [-2, -1], [8, 16])
    assert features.widths(tmp_path) == [8, 16]
    assert json.loads((tmp_path / features.LAYERS).read_text())["layers"] == [-2, -1]
    (tmp_path / features.LAYERS).write_text("{}")
    with pytest.raises(UserError, match=r"features.json: cannot be read: 'widths'; remove"):
        features.widths(tmp_path)


class Named(Store):
    """Videos that are found by name."""

    def number(self, name: str) -> int:
        return int(name)


@pytest.mark.parametrize("frames", [None, [1, 7, 11, 7]])
def test_an_example_is_its_video_or_the_clip_around_its_frame(
    tmp_path, monkeypatch, encoder, frames
):
    """The features are those of the frames that it says, cut out here by hand."""
    clips, videos = 2 if frames is None else 1, [5, 5, 2, 5]
    moments = None if frames is None else np.array(frames)
    parts = {"1": ["train"] * 4}
    table = Examples([str(v) for v in videos], np.zeros(4, np.int64), ["a"], parts, moments)
    for name in ("weights", "examples", "shards", "out"):
        (tmp_path / name).mkdir()
    weights.save(encoder, specs.model(), tmp_path / "weights" / "encoder.safetensors")
    examples.write(table, {}, tmp_path / "examples")
    monkeypatch.setattr(embed, "ClipStore", lambda path: Named())
    inputs = {name: (tmp_path / name,) for name in ("weights", "examples", "shards")}
    job = Job("embed", {"row": "r", "test": "t"}, inputs, tmp_path / "out", tmp_path / "s", 1, {})
    spec = schema.Features(clips=clips, layers=[-1], pool="mean", tokens=False, batch_size=3)
    clip = schema.Clip(frames=2, stride=2, size=20)
    embed.run(job, reads.EmbedParams(clip=clip, features=spec))
    found = np.load(tmp_path / "out" / features.FILE)
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts["rankme"] == pytest.approx(spread.rankme(found), abs=1e-4)
    assert (facts["examples"], facts["rankme_examples"]) == (4, 4)
    # of 12 frames: evenly spread starts of a clip of three, or the frame and the one two before
    taken = [[[0, 2], [9, 11]]] * 4 if frames is None else [[[max(0, f - 2), f]] for f in frames]
    for row, video, each in zip(found, videos, taken, strict=True):
        pixels = Named().pixels[video][np.array(each)][:, :, :, 2:22]  # the centred square
        x = torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float() / 255
        with torch.no_grad():
            wanted = encoder((x - 0.45) / 0.225).mean(0)
        np.testing.assert_allclose(row, wanted, rtol=1e-3, atol=1e-4)
