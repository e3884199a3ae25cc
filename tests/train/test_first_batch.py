"""The page shows the clips that the networks are given, and making it touches no training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support import pretext
from support.pretrain_stage import marked, run
from videossl import distributed
from videossl.data.loading import loader
from videossl.data.loading.augment import SLOWFAST
from videossl.data.loading.device_clips import to_device_clips
from videossl.data.loading.thumbnails import thumbnails
from videossl.methods.base import Method
from videossl.models.backbone import Backbone
from videossl.study.registry import METHODS
from videossl.train import first_batch

NOT_SEEN = {"flow, for labels"}  # by a network
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "order_geometry": [{"variant": "disentangled"}, {"variant": "siamese"}],
}
CASES = [(name, change) for name in sorted(METHODS) for change in VARIANTS.get(name, [{}])]


def first_clips(method: Method, rows: int) -> tuple[loader.Batch, list[Tensor]]:
    """Some rows of the batch of step 0, on the device."""
    (batch,) = loader.batches(pretext.batches(method).between(0, 1, range(rows)))
    return batch, to_device_clips(batch, pretext.CLIP.size)


@pytest.mark.parametrize(("name", "change"), CASES)
def test_what_is_shown_is_what_the_networks_get(name: str, change: dict[str, Any]) -> None:
    method = pretext.build(name, changes=change)
    batch, clips = first_clips(method, 8)
    shown = {k: v for k, v in method.shown(clips, batch.labels).items() if k not in NOT_SEEN}
    given: list[Tensor] = []
    for module in method.modules():
        if isinstance(module, Backbone):
            module.register_forward_pre_hook(lambda _, args: given.extend(args[0].split(8)))
    ready = method.prepare(clips, batch.labels)
    method.training_step(ready, batch.video, lambda loss: None, batch.labels)
    assert shown
    assert given
    for role, clip in shown.items():
        assert any(torch.equal(clip, seen) for seen in given), role
    for seen in given:
        assert any(torch.equal(clip, seen) for clip in shown.values())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_writes_its_clips(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(name, tmp_path, monkeypatch, marked)
    with np.load(tmp_path / "batch.npz") as stored:
        names = stored["names"].tolist()
        assert len(names) == len(set(names)) >= 1
        assert len(set(stored["videos"].tolist())) == 4
        for number, _ in enumerate(names):
            clip = stored[f"clip{number}"]
            assert clip.dtype == np.uint8
            assert clip.shape[0] == 4
            assert clip.shape[2:] == (16, 16, 3)
            assert clip.std() > 5
    assert (tmp_path / "batch.npz").stat().st_size < 300_000


def write(method: Method, path: Path) -> bytes:
    source = pretext.batches(method)
    for number, video in enumerate(source.store.videos):
        video.name = f"video-{number}"
    first_batch.write(method, source, pretext.CLIP.size, SLOWFAST, path)
    return path.read_bytes()


def test_no_state_of_the_training_is_touched(tmp_path: Path) -> None:
    method = pretext.build("v3s")
    before = {key: value.clone() for key, value in method.state_dict().items()}
    numbers = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    write(method, tmp_path / "batch.npz")
    assert torch.equal(numbers[0], torch.get_rng_state())
    assert numbers[1:] == (random.getstate(), repr(np.random.get_state()))  # noqa: NPY002
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


def test_one_rank_writes_and_its_bytes_do_not_know_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    run("rspnet", tmp_path / "one", monkeypatch, marked)
    for rank in range(2):
        folder = tmp_path / f"rank{rank}"
        folder.mkdir()
        monkeypatch.setattr(distributed, "world", lambda: 2)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        run("rspnet", folder, monkeypatch, marked)
    assert not (tmp_path / "rank1/batch.npz").exists()
    files = [(tmp_path / name / "batch.npz").read_bytes() for name in ("one", "rank0")]
    assert files[0] == files[1]


def test_the_same_bytes_again_and_others_of_another_recipe(tmp_path: Path) -> None:
    first = write(pretext.build("rspnet"), tmp_path / "a.npz")
    assert write(pretext.build("rspnet"), tmp_path / "b.npz") == first
    other = pretext.build("rspnet", changes={"speeds": [1, 3]})
    assert write(other, tmp_path / "c.npz") != first


def test_pixels_are_those_of_the_clip(tmp_path: Path) -> None:
    method = pretext.build("rspnet")
    write(method, tmp_path / "batch.npz")
    _, clips = first_clips(method, 4)
    with np.load(tmp_path / "batch.npz") as stored:
        assert stored["names"].tolist() == ["query", "key, same speed", "key, other speed"]
        for number, clip in enumerate(clips):
            wanted = (clip * 0.225 + 0.45) * 255
            found = torch.from_numpy(stored[f"clip{number}"]).permute(0, 4, 1, 2, 3)
            assert (wanted - found).abs().max() < 0.6


def test_flow_is_hue_and_light() -> None:
    flow = torch.zeros(1, 2, 2, 4, 4)
    flow[0, 0, :, :2] = 3.0  # to the right above, half as fast to the left below
    flow[0, 0, :, 2:] = -1.5
    (clip,) = thumbnails(flow, SLOWFAST)
    assert clip.shape == (2, 4, 4, 3)
    assert (np.abs(clip[:, :2].astype(int) - [255, 0, 0]) <= 1).all()
    assert (np.abs(clip[:, 2:].astype(int) - [0, 128, 128]) <= 1).all()
    assert (thumbnails(torch.zeros(1, 2, 2, 4, 4), SLOWFAST) == 0).all()


def test_long_and_large_clips_become_few_small_frames() -> None:
    clip = torch.linspace(0, 1, 16).view(1, 1, 16, 1, 1).expand(1, 1, 16, 96, 96)
    found = thumbnails(clip, SLOWFAST)
    assert found.shape == (1, 6, 48, 48, 3)
    assert found[0, :, 0, 0, 0].tolist() == [0, 51, 102, 153, 204, 255]
