"""Gaze maps: the true map against a loop, mirrored points, the loss, what chance gives."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from support import specs
from videossl.data.loading.fields import FIELDS, Field
from videossl.downstream.examples import Examples
from videossl.downstream.objectives import saliency
from videossl.downstream.objectives.saliency import gaze_map
from videossl.models import weights
from videossl.study import schema

VIEWS = schema.Views(clips=1, crops=1, batch_size=4)
TARGETS = [
    {"points": [[0.2, 0.3], [0.9, 0.5]], "sigma": [0.1, 0.2]},
    {"points": [[0.5, 0.5]], "sigma": [0.05, 0.05]},
]
FOUND = Examples(["a", "b"], TARGETS, [], {})


def gaussians(points: list[list[float]], sigma: list[float], height: int, width: int) -> Any:
    """The sum of Gaussians, pixel by pixel."""
    total = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            for x, y in points:
                across = ((column + 0.5) / width - x) / sigma[0]
                down = ((row + 0.5) / height - y) / sigma[1]
                total[row, column] += math.exp(-(across**2 + down**2) / 2)
    return total / total.sum()


def batch(flipped: list[int]) -> Any:
    draws = torch.zeros(2, FIELDS)
    draws[flipped, Field.FLIP] = 1
    return SimpleNamespace(example=torch.tensor([0, 1]), draws=[draws])


def test_the_true_map_against_a_loop() -> None:
    objective = saliency.build(FOUND)
    points, sigmas = objective.target(batch([]))
    found = gaze_map(points.double(), sigmas.double(), 6, 9)
    for one, target in zip(found, TARGETS, strict=True):
        expected = gaussians(target["points"], target["sigma"], 6, 9)
        np.testing.assert_allclose(one, expected, atol=1e-7)
    assert found.sum(dim=(1, 2)).tolist() == pytest.approx([1, 1])


def test_a_gaussian_between_pixels_is_a_map() -> None:
    found = gaze_map(torch.tensor([[[0.1, 0.1]]]), torch.tensor([[0.001, 0.001]]), 3, 3)
    assert float(found[0, 0, 0]) == pytest.approx(1)


def test_points_are_mirrored_with_the_clip() -> None:
    objective = saliency.build(FOUND)
    plain, mirrored = (gaze_map(*objective.target(batch(x)), 8, 8) for x in ([], [0]))
    torch.testing.assert_close(mirrored[0], plain[0].flip(-1))
    torch.testing.assert_close(mirrored[1], plain[1])


def test_the_loss_is_the_divergence() -> None:
    objective = saliency.build(FOUND)
    outputs = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    target = objective.target(batch([]))
    true = gaze_map(*target, 8, 8).flatten(1)
    predicted = outputs.flatten(1).softmax(1)
    expected = np.mean([stats.entropy(q, p) for p, q in zip(predicted, true, strict=True)])
    assert float(objective.loss(outputs, target)) == pytest.approx(float(expected), abs=1e-6)
    score, seen = objective.validate(outputs, np.array([0, 1]))
    assert score == [-seen["validation_loss"]]
    assert seen["validation_loss"] == pytest.approx(float(expected), abs=1e-6)
    values, _ = objective.measure(objective.predictions(outputs, np.array([0, 1]), VIEWS), VIEWS)
    assert values["KL"].mean() == pytest.approx(float(expected), abs=1e-6)


def test_the_true_map_is_the_best_prediction_and_a_flat_one_is_chance() -> None:
    objective = saliency.build(FOUND)
    numbers = np.array([0, 1])
    true = gaze_map(*objective.target(batch([])), 16, 16)
    values, totals = objective.measure(objective.predictions(true.log(), numbers, VIEWS), VIEWS)
    assert not totals
    np.testing.assert_allclose(values["KL"], 0, atol=1e-5)
    np.testing.assert_allclose(values["CC"], 1, atol=1e-5)
    np.testing.assert_allclose(values["SIM"], 1, atol=1e-3)
    assert (values["NSS"] > 1).all()
    assert (values["AUC_Judd"] > 0.9).all()
    flat = objective.predictions(torch.zeros(2, 16, 16), numbers, VIEWS)
    values, _ = objective.measure(flat, VIEWS)
    entropies = [stats.entropy(one.flatten()) for one in true]
    np.testing.assert_allclose(values["KL"], math.log(256) - np.array(entropies), atol=1e-5)
    assert values["NSS"].tolist() == values["CC"].tolist() == [0, 0]


def test_the_map_is_a_quarter_of_the_clip_and_learns_where_to_look() -> None:
    torch.manual_seed(0)
    objective = saliency.build(FOUND)
    model = objective.network(weights.build(specs.model()), 0.0)
    clips = torch.randn(2, 3, 2, 64, 64)
    assert model(clips).shape == (2, 16, 16)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = objective.loss(model(clips), objective.target(batch([])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses
