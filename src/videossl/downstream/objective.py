"""What an objective is: head, loss, validation score, predictions, and what it asks of the loader.

A module of ``objectives`` offers ``build(examples)``, the objective of the examples whose targets
are known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.loading.loader import Batch
from videossl.downstream import metrics
from videossl.downstream.examples import Examples, Numbers
from videossl.study import schema

Score = tuple[list[float], dict[str, float]]
Predictions = metrics.Predictions
Values = metrics.Values
Totals = metrics.Totals


class Objective(ABC):
    """What fine-tuning learns of one kind of labels, and how that is tested.

    Attributes:
        protocol: what the results of testing are called.
        whole: whether examples are whole frames, stretched to a square, and not cropped: then
            places in the frame stay shares of it, and a flip is 1 - x.
        occluded: whether the network tells one class of a clip from the clip alone, so that hiding
            parts of it shows where it looks.
    """

    protocol: ClassVar[str]
    whole: ClassVar[bool] = False
    occluded: ClassVar[bool] = False

    def __init__(self, examples: Examples) -> None:
        self.classes = examples.classes

    @abstractmethod
    def network(self, encoder: nn.Module, dropout: float) -> nn.Module:
        """The encoder, as the child ``encoder``, with a head of random weights."""

    def forward(self, model: nn.Module, clips: Tensor, batch: Batch) -> Tensor:
        """Outputs of the network for clips (B, 3, T, S, S)."""
        outputs: Tensor = model(clips)
        return outputs

    def for_testing(self, views: schema.Views) -> None:  # noqa: B027 (most need nothing)
        """Look at examples as testing does, where training sees something else of them."""

    @abstractmethod
    def target(self, batch: Batch) -> Any:
        """What ``loss`` compares the outputs of a batch with, on the batch's device."""

    @abstractmethod
    def loss(self, outputs: Tensor, target: Any) -> Tensor:
        """The mean loss of a batch."""

    def seen(self, outputs: Tensor, target: Any) -> dict[str, Tensor]:
        """What the curve shows of a training batch beside the loss."""
        return {}

    @abstractmethod
    def validate(self, outputs: Tensor, numbers: Numbers) -> Score:
        """A score that is larger where the network is better, and the curve's part.

        Args:
            outputs: what ``forward`` gave for one view of each example, one after another.
            numbers: (N,) of the examples.
        """

    @abstractmethod
    def predictions(self, outputs: Tensor, numbers: Numbers, views: schema.Views) -> Predictions:
        """What ``measure`` needs to know, truth included.

        Args:
            outputs: what ``forward`` gave for all views of each example, one after another.
            numbers: (N,) of the examples.
            views: how it is tested.
        """

    @abstractmethod
    def measure(self, predictions: Predictions, views: schema.Views) -> tuple[Values, Totals]:
        """The metrics, from predictions alone."""


def by_view(outputs: Tensor, numbers: Numbers) -> Tensor:
    """Outputs (N * views, ...) as (N, views, ...)."""
    return outputs.reshape(len(numbers), -1, *outputs.shape[1:])


def ranked(score: float, loss: float) -> list[float]:
    """A validation score whose ties the loss breaks; where there is none the loss alone decides."""
    return [score if np.isfinite(score) else 0.0, -loss]


@torch.no_grad()
def top1(outputs: Tensor, target: Tensor) -> Tensor:
    """The share of rows whose largest output is that of their class."""
    return (outputs.argmax(1) == target).float().mean()
