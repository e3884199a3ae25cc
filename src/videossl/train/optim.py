"""Optimisers, with one rule for all on what decays and what is adapted to the norm of a tensor."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from videossl.study.schema import Optimizer

FACTOR = "rate_factor"  # key of a parameter group: what its rate is multiplied by
DECAY = "decay_apart"  # key of a parameter group: weight decay that the optimiser knows nothing of


class SGD(torch.optim.SGD):
    """torch's without what its step is wrapped in, which imports the compiler: seconds at first."""

    # the wrapper turns gradients off, and lets a compiler know that it does
    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class AdamW(torch.optim.AdamW):
    """The same of AdamW."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def build(
    module: nn.Module, spec: Optimizer, factor: Callable[[str], float] = lambda name: 1.0
) -> torch.optim.Optimizer:
    """The optimiser of all parameters that take a gradient.

    The rate of a parameter is the schedule's times ``factor`` of its name: groups have it as
    ``FACTOR``, and whoever sets their rate multiplies.

    Unless ``decay_norms``, weight decay leaves out one-dimensional parameters (biases, norms), as
    in the ρ methods' paper (Feichtenhofer et al., CVPR 2021, appendix: BN weight decay 0).

    LARS and LAMB adapt the step to the norm of every tensor of two or more dimensions, whatever
    decays, and never to that of one-dimensional ones. timm's would adapt just what decays: no
    tensor at all without weight decay. ``clip_norm`` alone limits gradients: timm's LAMB would
    limit their norm to 1 as well.
    """
    of_norms = spec.weight_decay if spec.decay_norms else 0.0
    named = [(factor(name), p) for name, p in module.named_parameters() if p.requires_grad]
    wides: list[dict[str, Any]] = []
    flats: list[dict[str, Any]] = []
    for one in dict.fromkeys(value for value, _ in named):
        own = [p for value, p in named if value == one]
        wide, flat = [p for p in own if p.ndim > 1], [p for p in own if p.ndim <= 1]
        wides.append({"params": wide, "weight_decay": spec.weight_decay, FACTOR: one})
        flats.append({"params": flat, "weight_decay": of_norms, FACTOR: one})
    groups = [group for pair in zip(wides, flats, strict=True) for group in pair]
    betas = (spec.momentum, 0.999)
    leave_out_the_compiler()
    if spec.name == "sgd":
        # not fused: torch's fused kernel fails on weights whose first gradient comes later than
        # that of others, like prototypes that are frozen at first
        return SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov)
    if spec.name == "adamw":
        return AdamW(groups, lr=spec.lr, betas=betas, fused=True)
    # imported here: it takes seconds, and torch has the other two
    from timm.optim.lamb import Lamb
    from timm.optim.lars import Lars

    for group in wides:
        group["always_adapt"] = True
    for group in flats:
        group |= {"always_adapt": False, "weight_decay": 0.0, DECAY: of_norms}
    optimizer: torch.optim.Optimizer
    if spec.name == "lars":
        optimizer = Lars(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov)
        optimizer.register_step_pre_hook(_decay_gradients)
    else:
        optimizer = Lamb(groups, lr=spec.lr, betas=betas, max_grad_norm=None)
        optimizer.register_step_pre_hook(_decay_weights)
    return optimizer


@torch.no_grad()
def _decay_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Weight decay as SGD has it: a part of the gradient, before momentum."""
    for group in optimizer.param_groups:
        if group.get(DECAY):
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.add_(p, alpha=group[DECAY])


@torch.no_grad()
def _decay_weights(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Weight decay as LAMB has it: a part of the step, after the moments; here just before."""
    for group in optimizer.param_groups:
        if group.get(DECAY):
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group[DECAY])


def leave_out_the_compiler() -> None:
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
