"""Classes of frames: weights, macro averages against scikit-learn, what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from torch import nn

from support import specs
from videossl.downstream.examples import Examples
from videossl.downstream.metrics import macro
from videossl.downstream.objectives import frame_classification
from videossl.downstream.objectives.frame_classification import balance
from videossl.models import weights
from videossl.study import schema

VIEWS = schema.Views(clips=1, crops=3, batch_size=4)


def built(labels: list[int], classes: int = 3) -> frame_classification.FrameClassification:
    names = [str(n) for n in range(len(labels))]
    found = Examples(names, np.array(labels), names[:classes], {})
    return frame_classification.build(found)


def test_classes_weigh_the_same() -> None:
    labels = torch.tensor([0, 0, 0, 2, -1, -1])
    assert balance(labels, 4).tolist() == pytest.approx([4 / 6, 0, 4 / 2, 0])
    assert balance(labels, 4)[labels[:4]].sum() == pytest.approx(4)


def test_the_loss_is_that_of_a_set_with_as_many_of_each_class() -> None:
    objective = built([0, 0, 0, 2])
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    copies = [0, 1, 2, 3, 3, 3]
    targets = torch.tensor([0, 0, 0, 2])
    expected = nn.functional.cross_entropy(outputs[copies], targets[copies])
    assert float(objective.loss(outputs, targets)) == pytest.approx(float(expected))


@given(st.integers(0, 10**6))
def test_macro_averages_against_another_computation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 5, (2, 12))
    expected = precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )
    assert list(macro(labels, predicted).values()) == pytest.approx(expected[:3], abs=1e-12)


def test_by_hand() -> None:
    found = macro(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0]))
    assert found == {
        "macro_precision": pytest.approx((1 / 2 + 2 / 3 + 0) / 3),
        "macro_recall": pytest.approx((1 / 2 + 1 + 0) / 3),
        "macro_F1": pytest.approx((1 / 2 + 4 / 5 + 0) / 3),
    }


def test_a_constant_predictor_recalls_one_class() -> None:
    objective = built([0, 1, 1, 2] * 25)
    found = objective.predictions(torch.zeros(300, 3), np.arange(100), VIEWS)
    values, totals = objective.measure(found, VIEWS)
    assert values["top1"].mean() == 0  # equal scores count as worse
    assert totals["macro_recall"] == pytest.approx(1 / 3)
    assert totals["macro_precision"] == pytest.approx(1 / 4 / 3)


def test_views_are_averaged_and_validation_is_ranked() -> None:
    objective = built([0, 2])
    outputs = torch.tensor([[1.0, 0, 0], [0, 4, 0], [0, 0, 2], [0, 0, 1], [0, 1, 3], [0, 0, 0]])
    found = objective.predictions(outputs, np.array([0, 1]), VIEWS)
    np.testing.assert_allclose(found["scores"][0], outputs[:3].softmax(1).mean(0))
    assert found["labels"].tolist() == [0, 2]
    score, seen = objective.validate(outputs[[0, 3]], np.array([0, 1]))
    assert score == [1.0, -seen["validation_loss"]]


def test_the_head_averages_logits_over_the_map() -> None:
    encoder = weights.build(specs.model())
    model = built([0, 1]).network(encoder, 0.0).eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        out = model(clips)
        maps = encoder.eval()(clips, maps=True)[-1]
        _, first, _, last = model.head  # type: ignore[misc]
        channels = maps.movedim(1, -1)  # a place is a row
        hidden = (channels @ first.weight.flatten(1).T + first.bias).relu()
        expected = (hidden @ last.weight.flatten(1).T + last.bias).mean(dim=(1, 2, 3))
    torch.testing.assert_close(out, expected)
