"""The linear probe: standardised in place, against scikit-learn's pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from videossl.downstream import features
from videossl.downstream.protocols import linear
from videossl.job import UserError
from videossl.study import schema


def spec(regularization: float, iterations: int, solver: str = "lbfgs") -> schema.Linear:
    return schema.Linear(solver=solver, regularization=regularization, iterations=iterations)


def parts(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=200)
    x = rng.normal(size=(260, 6)) + 3 * rng.normal(size=6)
    x[:200] += np.eye(6)[labels % 6]
    x *= 10.0 ** np.arange(-2, 4)
    return x[:200].astype(np.float32), labels, x[200:].astype(np.float32)


@pytest.mark.parametrize("block_bytes", [1, 700, 1 << 20])
def test_standardising_in_place_is_scikit_learns(monkeypatch, block_bytes):
    monkeypatch.setattr(features, "BLOCK_BYTES", block_bytes)
    train, _, test = parts(3)
    train[:, 2] = test[:, 2] = 0.1  # constant
    scaler = StandardScaler().fit(train.astype(np.float64))
    wanted = scaler.transform(train), scaler.transform(test)
    features.standardise(train, test)
    np.testing.assert_allclose(train, wanted[0], atol=1e-4)
    np.testing.assert_allclose(test, wanted[1], atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_are_scikit_learns(classes):
    train, labels, test = parts(classes)
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=0.5, max_iter=300).fit(scaler.transform(train), labels)
    wanted = model.decision_function(scaler.transform(test))
    wanted = np.stack([-wanted, wanted], axis=1) if classes == 2 else wanted
    scores = linear.fit(train, labels, test, list("abcdef"), spec(0.5, 300))
    np.testing.assert_allclose(scores[:, :classes], wanted, atol=0.02)
    assert (scores[:, classes:] == -np.inf).all()


@pytest.mark.parametrize("block_bytes", [1000, 1 << 20])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_in_batches_the_answer_is_the_same(monkeypatch, classes, block_bytes):
    monkeypatch.setattr(features, "BLOCK_BYTES", block_bytes)
    train, labels, test = parts(classes)
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=0.5, max_iter=3000, tol=1e-9)
    model.fit(scaler.transform(train).astype(np.float64), labels)
    wanted = model.decision_function(scaler.transform(test).astype(np.float64))
    wanted = np.stack([-wanted, wanted], axis=1) if classes == 2 else wanted
    scores = linear.fit(train, labels, test, list("abcdef"), spec(0.5, 300, "batched"))
    np.testing.assert_allclose(scores[:, :classes], wanted, atol=1e-3)
    assert (scores[:, classes:] == -np.inf).all()


@pytest.mark.parametrize("solver", ["lbfgs", "batched"])
def test_several_classes_are_each_told_from_the_rest(solver):
    train, labels, test = parts(5)
    several = np.stack([labels == 1, labels >= 3, labels < 0, labels >= 0], axis=1)
    scaler = StandardScaler().fit(train)
    scores = linear.fit(train.copy(), several, test.copy(), list("abcd"), spec(0.5, 300, solver))
    for c in (0, 1):
        model = LogisticRegression(C=0.5, max_iter=3000, tol=1e-9)
        model.fit(scaler.transform(train).astype(np.float64), several[:, c])
        wanted = model.decision_function(scaler.transform(test).astype(np.float64))
        np.testing.assert_allclose(scores[:, c], wanted, atol=1e-3 if solver == "batched" else 0.02)
    assert not scores[:, 2:].any()  # nobody has the third, all have the fourth


def test_no_class_that_tells_examples_apart_is_one_line():
    train, labels, test = parts(2)
    several = np.stack([labels < 0, labels >= 0], axis=1)
    with pytest.raises(UserError, match="linear: no class tells the 200 training examples apart"):
        linear.fit(train, several, test, ["a", "b"], spec(1.0, 10))


@pytest.mark.parametrize("solver", ["lbfgs", "batched"])
def test_too_few_iterations_are_said(capsys, solver):
    train, labels, test = parts(5)
    linear.fit(train, labels, test, list("abcde"), spec(100.0, 1, solver))
    assert capsys.readouterr().out == "linear: not converged after 1 iterations\n"


def test_one_class_is_one_line():
    train, labels, test = parts(2)
    with pytest.raises(UserError, match="all 200 training videos are of class jump; a linear"):
        linear.fit(train, np.ones_like(labels), test, ["walk", "jump"], spec(1.0, 10))
