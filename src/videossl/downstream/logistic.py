"""Logistic regression on a GPU where there is one: L-BFGS on all examples, block by block.

The objective is scikit-learn's: the mean loss, plus the squared weights over 2 C M for M examples;
biases are free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from videossl.downstream import features
from videossl.train.device import pick_device
from videossl.train.optim import leave_out_the_compiler

GRADIENT = 1e-6  # largest entry at which it has converged
REMEMBERED = 10  # steps of L-BFGS, as scikit-learn's


def scores(
    train: NDArray[np.float32],
    target: NDArray[Any],
    test: NDArray[np.float32],
    regularization: float,
    iterations: int,
) -> tuple[int, NDArray[np.float32]]:
    """How many iterations it took, and the scores (N, K) of the test examples.

    Args:
        train: (M, D), on a GPU held there as a whole.
        target: (M,) classes 0 to K - 1 that exclude one another; or (M, K) bool, one regression
            for each column.
        test: (N, D).
        regularization: inverse strength, C.
        iterations: at most.
    """
    device = pick_device()
    x, y = torch.from_numpy(train).to(device), torch.from_numpy(target).to(device)
    classes = target.shape[1] if target.ndim == 2 else int(target.max()) + 1
    weight = torch.zeros(train.shape[1], classes, device=device, requires_grad=True)
    bias = torch.zeros(classes, device=device, requires_grad=True)
    blocks = _blocks(len(train), max(train.shape[1], classes))
    leave_out_the_compiler()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        max_eval=20 * iterations,
        tolerance_grad=GRADIENT,
        tolerance_change=0.0,
        history_size=REMEMBERED,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = weight.double().square().sum() / (2 * regularization * len(train))
        total.backward()  # type: ignore[no-untyped-call]
        for block in blocks:
            loss = _losses(x[block] @ weight + bias, y[block]).double().sum() / len(train)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total.detach()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        asked = torch.from_numpy(test)
        found = [
            (asked[block].to(device) @ weight + bias).cpu()
            for block in _blocks(len(test), test.shape[1])
        ]
    return int(optimizer.state[weight]["n_iter"]), torch.cat(found).numpy()


def _blocks(count: int, width: int) -> list[slice]:
    step = features.block_rows(width)
    return [slice(start, start + step) for start in range(0, count, step)]


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    if target.ndim == 1:
        return F.cross_entropy(logits, target, reduction="none")
    return F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
