"""Recognition over several views: what is averaged decides who wins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from videossl.downstream.examples import Examples
from videossl.downstream.objectives import classification
from videossl.study import schema

# three views of two videos, (2 * 3, 2): one view is sure of a class, two lean to the other
LOGITS = [[9.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 9.0], [2.0, 0.0], [2.0, 0.0]]
NUMBERS = np.array([2, 0])
FOUND = Examples(["a", "b", "c"], np.array([1, 0, 0]), ["x", "y"], {"1": ["test"] * 3})


@pytest.mark.parametrize(("average", "top1"), [("softmax", [0, 0]), ("logits", [1, 1])])
def test_views_are_averaged_as_it_says(average, top1):
    views = schema.Views(clips=3, crops=1, batch_size=4, average=average, topk=[1])
    objective = classification.build(FOUND)
    found = objective.predictions(torch.tensor(LOGITS), NUMBERS, views)
    rows = np.array(LOGITS).reshape(2, 3, 2)
    if average == "softmax":
        rows = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
    np.testing.assert_allclose(found["scores"], rows.mean(1), rtol=1e-6)
    assert found["labels"].tolist() == [0, 1]
    values, _ = objective.measure(found, views)
    assert [float(value) for value in values["top1"]] == top1
