"""Protocol ``similarity``: whether two videos show the same, told by how similar features are.

Of each layer of the features the twelve of ``similarities``, side by side; each of mean 0 and
deviation 1 on the pairs that are trained on; a linear SVM (LIBSVM's, C unstated there), each fold
tested after training on all others (Kliper-Gross et al., TPAMI 2012, View 2; Tran et al., ICCV
2015; Wang et al., TPAMI 2021).

Roots and logarithms want features that are not negative, like those behind a ReLU. Others are
refused: cut off at zero, they would be features that no layer of the network has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videossl.downstream import examples, features, metrics, similarities
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.downstream.scikit import SVC, roc_auc_score
from videossl.job import Job, UserError
from videossl.progress import Progress
from videossl.study.schema import Similarity

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams

Numbers = NDArray[np.int64]


def describe(folder: Path, x: NDArray[np.float32], pairs: Numbers, key: str) -> NDArray[np.float32]:
    """The similarities (P, 12 * layers) of pairs (P, 2) of the rows of ``x``.

    Args:
        folder: of the features, which says of which layers their columns are.
        x: (N, D).
        pairs: two rows each.
        key: the parameters of the test's features, for messages.

    Raises:
        UserError: a feature is negative.
    """
    found, start = [], 0
    for place, width in enumerate(features.widths(folder)):
        layer = x[:, start : start + width]
        if (least := layer.min()) < 0:
            raise UserError(
                f"{key}.layers[{place}]: has features down to {least:.3g}; similarity takes roots "
                "of them, so it needs a layer that ends in a ReLU"
            )
        found.append(similarities.of_pairs(layer, pairs[:, 0], pairs[:, 1]))
        start += width
    return np.concatenate(found, axis=1).astype(np.float32)


def folded(
    x: NDArray[np.float32],
    same: Numbers,
    folds: Numbers,
    regularization: float,
    news: Progress | None = None,
) -> NDArray[np.float64]:
    """The margin (P,) of each pair, above 0 for the same, by what is trained on the other folds.

    Raises:
        UserError: there is one fold, or all pairs outside a fold are the same, or are different.
    """
    scores = np.empty(len(x))
    for fold in np.unique(folds):
        held = folds == fold
        if len(np.unique(same[~held])) < 2:
            raise UserError(
                f"similarity: the {np.sum(~held)} pairs outside fold {fold} are not of both kinds, "
                "the same and different"
            )
        train, test = x[~held], x[held]
        features.standardise(train, test)
        machine = SVC(kernel="linear", C=regularization).fit(train, same[~held])
        scores[held] = machine.decision_function(test)
        if news is not None:
            news.step()
    return scores


def measure(predictions: Predictions, spec: Similarity) -> tuple[Values, Totals]:
    """Accuracy, its standard error over folds, and the area under the ROC curve.

    Accuracy is the mean over folds: the value of a pair is 0, or 1 times what gives each fold the
    same weight. The curve is that of all pairs, whose margins are compared over folds.
    """
    same, folds, scores = (predictions[name] for name in ("same", "folds", "scores"))
    _, places, counts = np.unique(folds, return_inverse=True, return_counts=True)
    right = (scores > 0) == (same == 1)
    accuracies = np.bincount(places, right) / counts
    weights = len(folds) / (len(counts) * counts)
    # a sample of pairs may lack what these need: they are then undefined
    error = accuracies.std(ddof=1) / np.sqrt(len(counts)) if len(counts) > 1 else np.nan
    area = roc_auc_score(same, scores) if len(np.unique(same)) > 1 else np.nan
    return {"accuracy": right * weights[places]}, {"accuracy_se": float(error), "AUC": float(area)}


def run(job: Job, params: EvaluateParams) -> None:
    """Write the margin of every pair, and what is measured of them."""
    spec = params.protocol
    assert isinstance(spec, Similarity)
    found = examples.read(job.input("examples"))
    folder = job.input("features")
    part = features.load_all(folder, found, job.split)  # all examples, in their order
    table = np.array(found.facts["pairs"], np.int64)
    pairs, same, folds = table[:, :2], table[:, 2], table[:, 3]
    x = describe(folder, part.features, pairs, f"probe.{job.key['test']}.features")
    news = Progress(job.scratch, len(np.unique(folds)))
    scores = folded(x, same, folds, spec.regularization, news)
    made = {"pairs": pairs, "same": same, "folds": folds, "scores": scores}
    metrics.write(job, "similarity", np.arange(len(pairs)), *measure(made, spec), **made)
