"""Leave one out: against a machine on the features themselves, fitted anew for each."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC

from videossl.downstream.protocols import leave_one_out
from videossl.job import UserError
from videossl.study import schema

SPEC = schema.LeaveOneOut(regularization=1.0)


def scenes(classes: int, each: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.arange(classes * each) % classes)
    x = rng.normal(size=(classes, 40))[labels] + 0.8 * rng.normal(size=(len(labels), 40))
    return (x * rng.uniform(1, 9, (len(labels), 1))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("regularization", [0.3, 10.0])
def test_each_is_told_by_a_machine_that_never_saw_it(classes, regularization):
    x, labels = scenes(classes)
    scores = leave_one_out.left_out(x, labels, classes, regularization)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for n in range(len(x)):
        others = np.arange(len(x)) != n
        machine = SVC(kernel="linear", C=regularization, tol=1e-6)
        known = machine.fit(unit[others], labels[others]).decision_function(unit[n : n + 1])[0]
        wanted = [-known, known] if classes == 2 else known
        np.testing.assert_allclose(scores[n], wanted, atol=0.02)
    assert (scores.argmax(axis=1) == labels).mean() > 0.6


def test_its_own_label_does_not_matter_to_an_example():
    x, labels = scenes(3)
    scores = leave_one_out.left_out(x, labels, 3, 1.0)
    for n in (0, 7):
        changed = labels.copy()
        changed[n] = (labels[n] + 1) % 3
        again = leave_one_out.left_out(x, changed, 3, 1.0)
        np.testing.assert_array_equal(scores[n], again[n])
        assert (np.delete(scores, n, 0) != np.delete(again, n, 0)).any()


def test_a_class_of_one_video_is_never_found():
    x, labels = scenes(3)
    labels = np.append(labels, 3)
    scores = leave_one_out.left_out(np.concatenate([x, x[:1]]), labels, 5, 1.0)
    assert scores[-1, 3] == -np.inf
    assert (scores[:, 4] == -np.inf).all()
    assert (scores[:-1, 3] > -np.inf).all()
    values, totals = leave_one_out.measure({"labels": labels, "scores": scores}, SPEC)
    assert (values["top1"][-1], totals) == (0.0, {})


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 0, 1], [0, 1]])
def test_too_few_classes_are_one_line(labels):
    x = np.eye(len(labels), dtype=np.float32)
    with pytest.raises(UserError, match=f"leave_one_out: {len(labels)} examples of . classes; "):
        leave_one_out.left_out(x, np.array(labels), 2, 1.0)


def test_a_constant_predictor_has_chance():
    made = {"labels": np.arange(30) % 5, "scores": np.tile([0.0, 4.0, 3.0, 2.0, 1.0], (30, 1))}
    values, _ = leave_one_out.measure(made, SPEC)
    assert float(values["top1"].mean()) == pytest.approx(1 / 5)
