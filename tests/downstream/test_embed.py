"""What embed keeps of a clip: pooled maps of several stages, side by side, and tokens."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from support import specs
from videossl.downstream import embed, features, tokens
from videossl.job import UserError
from videossl.models import weights

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
