"""The learning rate of every step: its peak, and the share of the peak that a schedule allows."""

from __future__ import annotations

import math

from videossl.study.schema import Optimizer


def peak(spec: Optimizer, batch_size: int) -> float:
    """The peak learning rate: ``lr``, for ``lr_base_size`` videos, grows with the batch.

    Source: linear scaling, Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return spec.lr if spec.lr_base_size == "none" else spec.lr * batch_size / spec.lr_base_size


def share(spec: Optimizer, step: int, total: int, warmup: int) -> float:
    """The share of the peak rate that step ``step`` of ``total`` trains with, in [0, 1].

    The rate rises in equal parts over the first ``warmup`` steps; the last of them has the rate
    that the schedule begins with, and the first has one part of it, not 0. Then

    - ``cosine``: half a cosine from 1 at the end of the warm-up to ``lowest`` at the end;
    - ``cosine_from_start``: half a cosine from 1 at step 0 to ``lowest`` at the end. A warm-up
      covers its beginning and ends on the curve, below 1, as in the code of SlowFast and so in the
      ρ methods' settings (Feichtenhofer et al., CVPR 2021);
    - ``steps``: times ``factor`` at each of ``milestones``, which are shares of the whole training
      and fall on the nearest step;
    - ``constant``: 1.

    Args:
        spec: the optimiser's block.
        step: from 0; steps done before this one.
        total: steps of the whole training.
        warmup: steps of the warm-up.
    """
    if step < warmup:
        return _scheduled(spec, warmup, total, warmup) * (step + 1) / warmup
    return _scheduled(spec, step, total, warmup)


def _scheduled(spec: Optimizer, step: int, total: int, warmup: int) -> float:
    if spec.schedule == "constant":
        return 1.0
    if spec.schedule == "steps":
        passed = sum(step >= round(milestone * total) for milestone in spec.milestones)
        return float(spec.factor**passed)
    begin = warmup if spec.schedule == "cosine" else 0
    way = (step - begin) / max(total - begin, 1)
    return spec.lowest + (1 - spec.lowest) * 0.5 * (1 + math.cos(math.pi * way))
