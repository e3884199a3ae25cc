"""Objective of the kind ``class``: softmax over the classes of a video."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading.loader import Batch
from videossl.downstream import metrics, objective
from videossl.downstream.examples import Examples, Numbers
from videossl.downstream.objective import Objective, Predictions, Score, Totals, Values
from videossl.models.classifier import Classifier
from videossl.study import schema


class Classification(Objective):
    """A linear layer on the pooled feature, a logit per class."""

    protocol = "recognition"
    occluded = True

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples)
        self.labels = torch.from_numpy(examples.targets)

    def network(self, encoder: nn.Module, dropout: float) -> nn.Module:
        """Clips (B, 3, T, S, S) -> logits (B, classes)."""
        return Classifier(encoder, len(self.classes), dropout)

    def target(self, batch: Batch) -> Tensor:
        """The classes, (B,)."""
        self.labels = self.labels.to(batch.example.device)
        return self.labels[batch.example]

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of logits (B, classes) for classes (B,)."""
        return F.cross_entropy(outputs.float(), target)

    def seen(self, outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Top-1 of the batch."""
        return {"train_top1": objective.top1(outputs, target)}

    def validate(self, outputs: Tensor, numbers: Numbers) -> Score:
        """Top-1 of one clip per example; the loss breaks ties."""
        target = self.labels.cpu()[torch.from_numpy(numbers)]
        top1 = float(objective.top1(outputs, target))
        entropy = float(F.cross_entropy(outputs, target))
        return [top1, -entropy], {"validation_top1": top1, "validation_loss": entropy}

    def predictions(self, outputs: Tensor, numbers: Numbers, views: schema.Views) -> Predictions:
        """Scores (N, classes): the mean over views of softmax scores, or of logits.

        Of softmax scores as in STS (Wang et al., TPAMI 2021) and most later work; RSPNet's released
        code averages logits.
        """
        rows = objective.by_view(outputs, numbers)
        scores = (rows.softmax(-1) if views.average == "softmax" else rows).mean(dim=1)
        return {"labels": self.labels.cpu().numpy()[numbers], "scores": scores.numpy()}

    def measure(self, predictions: Predictions, views: schema.Views) -> tuple[Values, Totals]:
        """Top-k."""
        assert views.topk is not None
        return metrics.topk(predictions["scores"], predictions["labels"], views.topk), {}


def build(examples: Examples) -> Classification:
    """The objective of these examples."""
    return Classification(examples)
