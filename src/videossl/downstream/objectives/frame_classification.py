"""Objective of the kind ``frame_class``: softmax over the classes of a frame, balanced by class.

Source: Droste et al., IPMI 2019, and Jiao et al., ISBI 2020 (standard planes): macro precision,
recall and F1. They draw as many images of each class; here the loss weighs them so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading.loader import Batch
from videossl.downstream import metrics, objective
from videossl.downstream.examples import Examples, Numbers
from videossl.downstream.objective import Objective, Predictions, Score, Totals, Values
from videossl.models.map_heads import FrameClassifier
from videossl.study import schema


class FrameClassification(Objective):
    """Two convolutions of 1x1x1 on the last map, and their average, a logit per class."""

    protocol = "frame_classification"

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples)
        self.labels = torch.from_numpy(examples.targets)
        self.weights = balance(self.labels, len(self.classes))

    def network(self, encoder: nn.Module, dropout: float) -> nn.Module:
        """Clips (B, 3, T, S, S) -> logits (B, classes)."""
        return FrameClassifier(encoder, len(self.classes), dropout)

    def target(self, batch: Batch) -> Tensor:
        """The classes, (B,)."""
        self.labels = self.labels.to(batch.example.device)
        return self.labels[batch.example]

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of logits (B, classes) for classes (B,), weighed: a mean over the batch."""
        self.weights = self.weights.to(outputs.device)
        entropy = F.cross_entropy(outputs.float(), target, reduction="none")
        return (self.weights[target] * entropy).mean()

    def seen(self, outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Top-1 of the batch."""
        return {"train_top1": objective.top1(outputs, target)}

    def validate(self, outputs: Tensor, numbers: Numbers) -> Score:
        """Macro F1 of one clip per example; the loss breaks ties."""
        target = self.labels.cpu()[torch.from_numpy(numbers)]
        score = metrics.macro(target.numpy(), outputs.argmax(1).numpy())["macro_F1"]
        loss = float(self.loss(outputs, target))
        return [score, -loss], {"validation_macro_F1": score, "validation_loss": loss}

    def predictions(self, outputs: Tensor, numbers: Numbers, views: schema.Views) -> Predictions:
        """Scores (N, classes): the mean over views of softmax scores."""
        scores = objective.by_view(outputs, numbers).softmax(-1).mean(dim=1).numpy()
        return {"labels": self.labels.cpu().numpy()[numbers], "scores": scores}

    def measure(self, predictions: Predictions, views: schema.Views) -> tuple[Values, Totals]:
        """Top-1, where equal scores count as worse, and the macro averages."""
        labels, scores = predictions["labels"], predictions["scores"]
        values = metrics.topk(scores, labels, [1])
        return values, metrics.macro(labels, scores.argmax(axis=1))


def balance(labels: Tensor, classes: int) -> Tensor:
    """The weight of each class, (classes,): n / (classes that are there * how often each is).

    Args:
        labels: (N,) classes, or -1 where none is known; those do not count.
        classes: how many there are. A class that is not there weighs nothing.
    """
    counts = torch.bincount(labels[labels >= 0], minlength=classes)
    weights = counts.sum() / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0)


def build(examples: Examples) -> FrameClassification:
    """The objective of these examples."""
    return FrameClassification(examples)
