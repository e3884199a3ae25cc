"""Boxes at a moment: which boxes are seen, mirrored ones, and the metric from predictions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support import specs
from videossl.data.loading.fields import FIELDS, Field
from videossl.downstream import metrics
from videossl.downstream.examples import Examples
from videossl.downstream.objectives import detection
from videossl.job import UserError
from videossl.models import weights
from videossl.models.map_heads import BoxClassifier
from videossl.study import schema

VIEWS = schema.Views(clips=1, crops=1, batch_size=4, detector_score=0.5)
LEFT, RIGHT = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
TARGETS = [
    {"boxes": [LEFT, RIGHT], "classes": [[0, 2], [1]], "detections": [], "scores": []},
    {
        "boxes": [RIGHT],
        "classes": [[2]],
        "detections": [RIGHT, LEFT, LEFT],
        "scores": [0.9, 0.5, 0.4],
    },
    {"boxes": [], "classes": [], "detections": [LEFT], "scores": [0.7]},
]


def built(detector: bool = True, **changes: Any) -> detection.Detection:
    facts = {"evaluated": [0, 2], "detector": detector}
    values: dict[str, Any] = {"parts": {}, "frames": np.arange(3), "facts": facts, **changes}
    return detection.build(Examples(["a", "b", "c"], TARGETS, ["x", "y", "z"], **values))


def batch(numbers: list[int], flipped: list[int] | None = None) -> Any:
    draws = torch.zeros(len(numbers), FIELDS)
    draws[flipped or [], Field.FLIP] = 1
    return SimpleNamespace(example=torch.tensor(numbers), draws=[draws])


def test_true_boxes_are_learnt_and_mirrored_with_the_clip() -> None:
    seen: list[Tensor] = []
    objective = built()

    def model(_: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        seen.extend((rows, places))
        return places[:, :3]

    rows = batch([1, 0], flipped=[0])
    outputs = objective.forward(model, torch.zeros(2), rows)  # type: ignore[arg-type]
    assert seen[0].tolist() == [0, 1, 1]
    assert seen[1].tolist() == [[0.0, 0.5, 0.5, 1.0], LEFT, RIGHT]
    target = objective.target(rows)
    assert target.tolist() == [[0, 0, 1], [1, 0, 1], [0, 1, 0]]
    expected = nn.BCEWithLogitsLoss()(outputs, target)
    assert objective.loss(outputs, target) == pytest.approx(float(expected))


def test_a_detectors_boxes_are_tested_from_a_score_on() -> None:
    numbers = np.array([0, 1, 2])
    objective = built()
    objective.for_testing(VIEWS)
    assert objective.seen_boxes.first.tolist() == [0, 0, 2, 3]
    outputs = torch.tensor([[0.0, 0, 9], [0, 0, 1], [5, 0, 2]])
    found = objective.predictions(outputs, numbers, VIEWS)
    assert found["found_range"].tolist() == [[0, 0], [0, 2], [2, 3]]
    # class 0 is never found; of class 2 the sure box is right, and one of two true ones missing
    assert objective.measure(found, VIEWS) == ({}, {"frame_mAP": pytest.approx((0 + 0.5) / 2)})
    plain = built(detector=False)
    plain.for_testing(VIEWS)
    assert plain.seen_boxes.first.tolist() == [0, 2, 3, 3]


def test_a_class_that_is_not_evaluated_does_not_count() -> None:
    objective = built(detector=False)
    numbers = np.array([0, 1])
    perfect = torch.tensor([[9.0, 0, 9], [0, 0, 0], [0, 0, 9]])
    assert detection.frame_map(objective.predictions(perfect, numbers, VIEWS)) == 1
    score, seen = objective.validate(perfect, numbers)
    assert score[0] == seen["validation_frame_mAP"] == 1


def test_a_constant_predictor_has_the_share_of_boxes_of_a_class() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(3000) < 0.2
    targets = [{"boxes": [LEFT], "classes": [[0] if has else [1]]} for has in labels]
    facts = {"evaluated": [0], "detector": False}
    names = [str(n) for n in range(3000)]
    objective = detection.build(Examples(names, targets, ["x", "y"], {}, None, facts))
    found = objective.predictions(torch.zeros(3000, 2), np.arange(3000), VIEWS)
    assert detection.frame_map(found) == pytest.approx(labels.mean(), abs=0.03)


@pytest.mark.parametrize("picks", [[0, 1, 2], [2, 0, 0], [1, 1, 1], [2, 2, 2]])
def test_resampled_examples_have_their_boxes(picks: list[int]) -> None:
    """Drawn twice, an example is two: as if the dataset had it twice."""
    objective = built(detector=False)
    outputs = torch.tensor([[3.0, 1, -2], [2, 0, 1], [0, 0, 0.5]])  # as many boxes as examples
    numbers = np.arange(3)
    found = {"examples": numbers, **objective.predictions(outputs, numbers, VIEWS)}
    again = metrics.resampled(found, np.array(picks))
    boxes = [[0, 1], [2], []]
    chosen = [TARGETS[n] for n in picks]
    facts = {"evaluated": [0, 2], "detector": False}
    other = detection.build(Examples(["a"] * 3, chosen, ["x", "y", "z"], {}, None, facts))
    rows = outputs[[box for n in picks for box in boxes[n]]]
    expected = detection.frame_map(other.predictions(rows, numbers, VIEWS))
    np.testing.assert_equal(detection.frame_map(again), expected)


def test_a_network_without_numbers_is_refused() -> None:
    objective = built(detector=False)
    found = objective.predictions(torch.full((2, 3), torch.nan), np.array([0]), VIEWS)
    with pytest.raises(UserError, match="not a number"):
        objective.measure(found, VIEWS)


def test_the_head_looks_into_the_box() -> None:
    """A map that is 1 in one quarter: a box in it is told from one beside, of whatever stride."""

    class Quarter(nn.Module):
        num_features = 1

        def forward(self, x: Tensor, maps: bool) -> list[Tensor]:
            found = torch.zeros(len(x), 1, 2, 8, 12)
            found[:, :, :, :4, :6] = 1
            return [found]

    head = BoxClassifier(Quarter(), 1, 0.0)
    nn.init.ones_(head.fc.weight)
    above = [0.65, 0.0, 1.0, 0.4]
    places = torch.tensor([[0.05, 0.05, 0.4, 0.4], RIGHT, above, [0.0, 0.0, 1.0, 1.0]])
    out = head(torch.zeros(2, 3, 2, 32, 32), torch.tensor([0, 1, 0, 1]), places)
    torch.testing.assert_close(out[:, 0], torch.tensor([1.0, 0, 0, 1]), atol=0.05, rtol=0)


def test_no_box_at_all_is_no_output() -> None:
    encoder = weights.build(specs.model())
    head = BoxClassifier(encoder, 3, 0.0)
    out = head(torch.zeros(1, 3, 2, 32, 32), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    assert out.shape == (0, 3)
