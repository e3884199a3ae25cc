"""Stage ``initialize``: the encoder of a baseline row, which is not pretrained here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from videossl.job import Job, write_json
from videossl.models import official, weights

if TYPE_CHECKING:
    from videossl.study.reads import InitializeParams


def run(job: Job, params: InitializeParams) -> None:
    """Write ``encoder.safetensors`` and ``metrics.json``.

    Random weights are those that the pretrained rows start from; others come from the file that
    ``baselines`` names: a ``.safetensors`` of this package, or a checkpoint of others' code.

    Raises:
        UserError: the file cannot be read or holds another network.
    """
    torch.manual_seed(job.seed)
    encoder: nn.Module
    source = params.baseline.weights
    if source == "random":
        encoder = weights.build(params.backbone)
    elif source.endswith(".safetensors"):
        encoder = weights.build(params.backbone)
        weights.load(encoder, Path(source))
    else:
        encoder = official.import_checkpoint(Path(source), params.backbone)
    weights.save(encoder, params.backbone, job.out / "encoder.safetensors")
    count = sum(p.numel() for p in encoder.parameters())
    write_json(job.out / "metrics.json", {"parameters": count})
