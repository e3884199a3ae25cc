"""Optimisers and the learning-rate schedule."""

from __future__ import annotations

import math
import sys

import torch
from torch import nn

from videossl.study.schema import Optimizer


def build(module: nn.Module, spec: Optimizer) -> torch.optim.Optimizer:
    """The optimiser of all parameters that take a gradient.

    Unless ``decay_norms``, weight decay leaves out one-dimensional parameters (biases, norms), as
    in the ρ methods' paper (Feichtenhofer et al., CVPR 2021, appendix: BN weight decay 0).
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    decay = spec.weight_decay
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {
            "params": [p for p in trained if p.ndim <= 1],
            "weight_decay": decay if spec.decay_norms else 0.0,
        },
    ]
    _leave_out_the_compiler()
    if spec.name == "sgd":
        # not fused: torch's fused kernel fails on weights whose first gradient comes later than
        # that of others, like prototypes that are frozen at first
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.momentum, 0.999), fused=True)
    # imported here: it takes seconds, and torch has the other two
    from timm.optim.lamb import Lamb
    from timm.optim.lars import Lars

    if spec.name == "lars":
        return Lars(groups, lr=spec.lr, momentum=spec.momentum)
    return Lamb(groups, lr=spec.lr, betas=(spec.momentum, 0.999))


def _leave_out_the_compiler() -> None:
    """Keep torch's optimizers from importing its compiler at their first call.

    They do so to be left alone by it, which takes 1 to 3 s of every stage's start. A function that
    carries the mark of being left alone already does not ask; without a compiler there is nothing
    to be left alone by, and with one the import has taken place.
    """
    if "torch._dynamo" in sys.modules:
        return
    for method in vars(torch.optim.Optimizer).values():
        if (function := getattr(method, "__wrapped__", None)) is not None:
            function.__dynamo_disable = function


def peak(spec: Optimizer, batch_size: int) -> float:
    """The peak learning rate: ``lr``, for ``lr_base_size`` videos, grows with the batch.

    Source: linear scaling, Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return spec.lr if spec.lr_base_size == "none" else spec.lr * batch_size / spec.lr_base_size


def learning_rate(base: float, step: int, total: int, warmup: int) -> float:
    """Linear from base / warmup over the first ``warmup`` steps, then half a cosine to 0."""
    if step < warmup:
        return base * (step + 1) / warmup
    return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
