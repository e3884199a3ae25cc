"""The stage: which weights it keeps, and what it refuses before it trains."""

from __future__ import annotations

from typing import Any

import pytest
from safetensors.torch import load_file

from support import pretext
from support.pretrain_stage import ROWS, marked, run
from support.study import ROOT
from videossl.job import Job, UserError
from videossl.methods.base import Method
from videossl.study import params
from videossl.study.registry import METHODS
from videossl.train import pretrain


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_online_encoder_is_kept(name, tmp_path, monkeypatch):
    kept = load_file(run(name, tmp_path, monkeypatch, marked))
    weights = {key: value for key, value in kept.items() if key.endswith(("weight", "bias"))}
    assert len(weights) > 20
    assert {value for tensor in weights.values() for value in tensor.unique().tolist()} == {3.0}


def test_the_rows_group_of_batch_norm_reaches_its_layers(tmp_path, monkeypatch):
    found: list[Method] = []

    def noted(job: Job, task: pretrain.Pretraining, *rest: Any) -> list[dict[str, float]]:
        found.append(task.module)
        return ROWS

    study = params.load(ROOT / "params.yaml")
    row = study.methods["rho_moco"].model_copy(update={"bn_group": 2})
    changed = study.model_copy(update={"methods": {**study.methods, "rho_moco": row}})
    monkeypatch.setattr(params, "load", lambda path: changed)
    run("rho_moco", tmp_path, monkeypatch, noted, accumulate=2)
    (method,) = found
    layers = [m for m in method.modules() if hasattr(m, "running_mean")]
    assert {(layer.group, layer.rows) for layer in layers} == {(2, 4)}
    assert method.key_encoder.group == 2


def test_videos_that_are_all_too_short_are_refused(tmp_path, monkeypatch):
    clip = pretext.CLIP.model_copy(update={"stride": 14})
    with pytest.raises(UserError, match=r"^methods.hdc: needs 43 frames .* has 40; a lower"):
        run("hdc", tmp_path, monkeypatch, marked, clip=clip)
