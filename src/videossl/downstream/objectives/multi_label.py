"""Objective of the kind ``classes``: a sigmoid for each class of a video.

Source: Feichtenhofer et al., CVPR 2021 (Charades): binary cross-entropy, the largest score over
views, mean average precision.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading.loader import Batch
from videossl.downstream import average_precision, objective
from videossl.downstream.examples import Examples, Numbers
from videossl.downstream.objective import Objective, Predictions, Score, Totals, Values
from videossl.models.classifier import Classifier
from videossl.study import schema


class MultiLabel(Objective):
    """A linear layer on the pooled feature, a logit per class.

    A training clip has the classes whose time meets it, a tested video has all of its own.
    """

    protocol = "multi_label"

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples)
        targets = [t or {"classes": [], "frames": []} for t in examples.targets]
        most = max([1, *(len(t["classes"]) for t in targets)])
        # (N, most): class, first and last frame; a place that is not taken is of no class
        self.actions = torch.full((len(targets), most, 3), -1)
        for number, target in enumerate(targets):
            for place, (label, frames) in enumerate(
                zip(target["classes"], target["frames"], strict=True)
            ):
                self.actions[number, place] = torch.tensor([label, *frames])

    def network(self, encoder: nn.Module, dropout: float) -> nn.Module:
        """Clips (B, 3, T, S, S) -> logits (B, classes)."""
        return Classifier(encoder, len(self.classes), dropout)

    def target(self, batch: Batch) -> Tensor:
        """(B, classes), 1 where a class's time meets the clip, which reaches over two frames."""
        self.actions = self.actions.to(batch.example.device)
        label, first, last = self.actions[batch.example].unbind(-1)  # each (B, most)
        begin, end = batch.labels[:, :1], batch.labels[:, 1:2]
        return self._several(torch.where((first <= end) & (last >= begin), label, -1))

    def _several(self, labels: Tensor) -> Tensor:
        """(N, most) classes, or -1 -> (N, classes), 1 or 0."""
        found = torch.zeros(len(labels), len(self.classes) + 1, device=labels.device)
        return found.scatter_(1, labels % (len(self.classes) + 1), 1.0)[:, :-1]

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy of logits (B, classes), mean over all."""
        return F.binary_cross_entropy_with_logits(outputs.float(), target)

    def validate(self, outputs: Tensor, numbers: Numbers) -> Score:
        """Mean average precision of one clip per example; the loss breaks ties."""
        truth = self._truth(numbers)
        score = average_precision.of_videos(truth.numpy() > 0, outputs.numpy())
        ranks = objective.ranked(score, loss := float(self.loss(outputs, truth)))
        return ranks, {"validation_mAP": ranks[0], "validation_loss": loss}

    def _truth(self, numbers: Numbers) -> Tensor:
        return self._several(self.actions.cpu()[torch.from_numpy(numbers), :, 0])

    def predictions(self, outputs: Tensor, numbers: Numbers, views: schema.Views) -> Predictions:
        """Scores (N, classes): the largest sigmoid over views."""
        scores = objective.by_view(outputs, numbers).sigmoid().amax(dim=1).numpy()
        return {"labels": self._truth(numbers).numpy().astype(np.bool_), "scores": scores}

    def measure(self, predictions: Predictions, views: schema.Views) -> tuple[Values, Totals]:
        """Mean over classes of average precision."""
        score = average_precision.of_videos(predictions["labels"], predictions["scores"])
        return {}, {"mAP": score}


def build(examples: Examples) -> MultiLabel:
    """The objective of these examples."""
    return MultiLabel(examples)
