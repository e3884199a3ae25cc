"""Objective of the kind ``class``: softmax over the classes of a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.downstream import metrics
from videossl.downstream.examples import Examples
from videossl.models.classifier import Classifier

PROTOCOL = "recognition"  # what the results of testing are called


def build(encoder: nn.Module, examples: Examples, dropout: float) -> nn.Module:
    """The network: a linear layer on the pooled feature, a logit per class."""
    return Classifier(encoder, len(examples.classes), dropout)


def targets(examples: Examples) -> Tensor:
    """(N,) int64, by number of the example."""
    return torch.from_numpy(examples.targets)


def loss(outputs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (B, classes) for classes (B,)."""
    return F.cross_entropy(outputs.float(), target)


@torch.no_grad()
def seen(outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What the curve shows of a training batch."""
    return {"train_top1": (outputs.argmax(1) == target).float().mean()}


def validate(outputs: Tensor, target: Tensor) -> tuple[list[float], dict[str, float]]:
    """A score that is larger where the network is better, loss breaks ties; and the curve's part.

    Args:
        outputs: (N, classes) logits of one clip per example.
        target: (N,).
    """
    top1 = float((outputs.argmax(1) == target).float().mean())
    entropy = float(F.cross_entropy(outputs, target))
    return [top1, -entropy], {"validation_top1": top1, "validation_loss": entropy}


def predict(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (N, classes): the mean over clips of their softmax scores.

    As in STS (Wang et al., TPAMI 2021) and most later work.

    Args:
        outputs: (N, clips, classes) logits.
    """
    scores: NDArray[np.float32] = torch.from_numpy(outputs).softmax(-1).mean(dim=1).numpy()
    return scores


def measure(
    scores: NDArray[np.float32], target: NDArray[np.int64], topk: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """Metric -> its value for each example; the metric is their mean."""
    return metrics.topk(scores, target, topk)
