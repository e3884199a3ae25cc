"""Stage ``initialize``: the encoder of a baseline row, which is not pretrained here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from videossl.job import Job, write_json
from videossl.models import weights

if TYPE_CHECKING:
    from videossl.params import InitializeParams


def run(job: Job, params: InitializeParams) -> None:
    """Write ``encoder.safetensors`` as the pretrained rows start out, and ``metrics.json``."""
    torch.manual_seed(params.seed)
    encoder = job.modules["backbone"].build(params.model)
    weights.save(encoder, params.model, job.out / "encoder.safetensors")
    count = sum(p.numel() for p in encoder.parameters())
    write_json(job.out / "metrics.json", {"parameters": count})
