"""Objective of the kind ``boxes``: a sigmoid for each class of a box at a moment.

Source: Gu et al., "AVA", CVPR 2018 (frame-mAP); Feichtenhofer et al., ICCV 2019 and CVPR 2021
(RoIAlign on the last map, binary cross-entropy over all classes, one clip around the moment).
Networks train on true boxes. They are tested on a detector's, of at least ``detector_score``, where
the dataset has such, else on the true ones: then only what is in a box has to be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading.fields import Field
from videossl.data.loading.loader import Batch
from videossl.downstream import average_precision, metrics, objective
from videossl.downstream.examples import Examples, Numbers
from videossl.downstream.objective import Objective, Predictions, Score, Totals, Values
from videossl.models.map_heads import BoxClassifier
from videossl.study import schema


@dataclass(frozen=True)
class Table:
    """The boxes of all examples, one after another: few large arrays, as AVA has half a million.

    Attributes:
        places: (K, 4) float64, left, top, right, bottom as shares of the frame.
        first: (N + 1,) int64; the boxes of example n are ``first[n]`` to ``first[n + 1] - 1``.
    """

    places: Tensor
    first: Tensor

    @classmethod
    def of(cls, boxes: Iterable[list[list[float]]]) -> Table:
        """A table of the boxes of each example."""
        parts = [np.asarray(own, np.float64).reshape(-1, 4) for own in boxes]
        first = np.cumsum([0, *map(len, parts)])
        return cls(torch.from_numpy(np.concatenate(parts)), torch.from_numpy(first))

    def of_examples(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The boxes of some examples in turn, and the place among ``numbers`` of each one's."""
        begin = self.first[numbers]
        counts = self.first[numbers + 1] - begin
        rows = torch.repeat_interleave(torch.arange(len(numbers), device=numbers.device), counts)
        inside = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        return begin[rows] + inside, rows

    def to(self, device: torch.device) -> Table:
        """The table on a device."""
        return Table(self.places.to(device), self.first.to(device))


class Detection(Objective):
    """RoIAlign and a linear layer, a logit per class. Outputs are of boxes: (K, classes)."""

    protocol = "detection"
    whole = True

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples)
        targets = [target or {"boxes": [], "classes": []} for target in examples.targets]
        self.targets = targets
        self.evaluated: list[int] = examples.facts["evaluated"]
        self.detector: bool = examples.facts["detector"]
        self.true = self.seen_boxes = Table.of(target["boxes"] for target in targets)
        self.labels = torch.zeros(len(self.true.places), len(self.classes), dtype=torch.bool)
        sets = (own for target in targets for own in target["classes"])
        for box, own in enumerate(sets):
            self.labels[box, own] = True

    def network(self, encoder: nn.Module, dropout: float) -> nn.Module:
        """Clips and boxes -> logits (K, classes)."""
        return BoxClassifier(encoder, len(self.classes), dropout)

    def for_testing(self, views: schema.Views) -> None:
        """See the detector's boxes from now on, where there are such."""
        if not self.detector:
            return
        least = views.detector_score or 0.0
        self.seen_boxes = Table.of(
            [
                box
                for box, score in zip(
                    target.get("detections", []), target.get("scores", []), strict=True
                )
                if score >= least
            ]
            for target in self.targets
        )

    def forward(self, model: nn.Module, clips: Tensor, batch: Batch) -> Tensor:
        """Logits (K, classes) of the boxes of the batch's examples, in turn."""
        self.seen_boxes = self.seen_boxes.to(batch.example.device)
        boxes, rows = self.seen_boxes.of_examples(batch.example)
        places = self.seen_boxes.places[boxes].float()
        mirrored = torch.stack((1 - places[:, 2], places[:, 1], 1 - places[:, 0], places[:, 3]), 1)
        flipped = batch.draws[0][rows, Field.FLIP] > 0
        outputs: Tensor = model(clips, rows, torch.where(flipped[:, None], mirrored, places))
        return outputs

    def target(self, batch: Batch) -> Tensor:
        """(K, classes) of the true boxes of the batch's examples, 1 where one has a class."""
        self.true = self.true.to(batch.example.device)
        self.labels = self.labels.to(batch.example.device)
        return self.labels[self.true.of_examples(batch.example)[0]].float()

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy of logits (K, classes), mean over all."""
        return F.binary_cross_entropy_with_logits(outputs.float(), target)

    def validate(self, outputs: Tensor, numbers: Numbers) -> Score:
        """Frame-mAP on true boxes; the loss breaks ties."""
        predictions = self._predictions(outputs, numbers)
        score = frame_map(predictions)
        boxes, _ = self.true.to(outputs.device).of_examples(torch.from_numpy(numbers))
        loss = float(self.loss(outputs, self.labels.cpu()[boxes].float()))
        ranks = objective.ranked(score, loss)
        return ranks, {"validation_frame_mAP": ranks[0], "validation_loss": loss}

    def predictions(self, outputs: Tensor, numbers: Numbers, views: schema.Views) -> Predictions:
        """The boxes that were seen with their scores, and the true ones; see ``frame_map``.

        A moment has one view (``consistency``).
        """
        return self._predictions(outputs, numbers)

    def _predictions(self, outputs: Tensor, numbers: Numbers) -> Predictions:
        chosen = torch.from_numpy(numbers)
        arrays: dict[str, NDArray[Any]] = {}
        for name, table in (("found", self.seen_boxes), ("true", self.true)):
            own = table.to(chosen.device)
            boxes, rows = own.of_examples(chosen)
            counts = np.bincount(rows.numpy(), minlength=len(numbers))
            ends = np.cumsum(counts)
            arrays[f"{name}_places"] = own.places[boxes].numpy()[None]
            arrays[f"{name}_range"] = np.stack([ends - counts, ends], axis=1)
            if name == "true":
                arrays["labels"] = self.labels.cpu()[boxes].numpy()[None]
        arrays["scores"] = outputs.sigmoid().numpy()[None]
        arrays["evaluated"] = np.array([self.evaluated], np.int64)
        return arrays

    def measure(self, predictions: Predictions, views: schema.Views) -> tuple[Values, Totals]:
        """Frame-mAP: mean over evaluated classes that some true box has."""
        return {}, {"frame_mAP": frame_map(predictions)}


def frame_map(predictions: Predictions) -> float:
    """Frame-mAP at an overlap of 0.5; nan where no true box has an evaluated class.

    Args:
        predictions: as ``average_precision.boxes_of`` has them.

    Raises:
        UserError: a score is not a number.
    """
    metrics.check_scores(predictions["scores"])
    precisions = average_precision.of_boxes(*average_precision.boxes_of(predictions))
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if len(known) else float("nan")


def build(examples: Examples) -> Detection:
    """The objective of these examples."""
    return Detection(examples)
