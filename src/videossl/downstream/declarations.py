"""What protocols and metrics are called and what their values mean: all that a reader is shown.

Free of torch and of every other module, so that the report depends on words and on no computation.
A metric that a protocol writes is declared here, by its name or by a pattern with a number in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a metric's values mean.

    Attributes:
        title: for a reader; ``{}`` is the number in the metric's name.
        share: whether values are shares, 0 to 1, and shown in per cent; else plain numbers.
        better: whether larger (``high``) or smaller (``low``) values are better, or ``none``.
        interval: ``wilson`` where a value is a share of independent trials, one per example.
    """

    title: str
    share: bool
    better: Literal["high", "low", "none"]
    interval: Literal["wilson", "none"]


@dataclass(frozen=True)
class Protocol:
    """A protocol's title, and how its numbers come about."""

    title: str
    definition: str


METRICS = {  # pattern of a whole name -> what it is
    r"top(\d+)": Metric("top-{}", share=True, better="high", interval="wilson"),
    r"R@(\d+)": Metric("R@{}", share=True, better="high", interval="wilson"),
    "mAP": Metric("mAP", share=True, better="high", interval="none"),
    # of pairs: trials are not independent, as a video is in several of them
    "accuracy": Metric("accuracy", share=True, better="high", interval="none"),
    "accuracy_se": Metric("its standard error", share=True, better="none", interval="none"),
    "AUC": Metric("AUC", share=True, better="high", interval="none"),
    "frame_mAP": Metric("frame-mAP@0.5", share=True, better="high", interval="none"),
    "macro_precision": Metric("precision", share=True, better="high", interval="none"),
    "macro_recall": Metric("recall", share=True, better="high", interval="none"),
    "macro_F1": Metric("F1", share=True, better="high", interval="none"),
    "KL": Metric("KL", share=False, better="low", interval="none"),
    "NSS": Metric("NSS", share=False, better="high", interval="none"),
    "AUC_Judd": Metric("AUC-Judd", share=True, better="high", interval="none"),
    "CC": Metric("CC", share=False, better="high", interval="none"),
    "SIM": Metric("SIM", share=True, better="high", interval="none"),
}

PROTOCOLS = {
    "recognition": Protocol(
        "Fine-tuned recognition",
        "The whole network is fine-tuned on the labelled training examples. The class scores of "
        "each test example are averaged over several views at fixed places; top-k is the share of "
        "test examples whose class is among the k highest scores.",
    ),
    "multi_label": Protocol(
        "Fine-tuned multi-label recognition",
        "The whole network is fine-tuned on the labelled training examples, each of which may have "
        "any number of classes. The score of a class is the largest over several views; mAP is the "
        "mean over classes of average precision.",
    ),
    "detection": Protocol(
        "Fine-tuned action detection",
        "The whole network is fine-tuned on the true boxes of the labelled training moments. "
        "Tested boxes are a detector's where the dataset has such, else the true ones. Frame-mAP "
        "is the mean over the evaluated classes of average precision; a box is right if it "
        "overlaps a true box of the class by at least half, which no box of a higher score took.",
    ),
    "frame_classification": Protocol(
        "Fine-tuned frame classification",
        "The whole network is fine-tuned on clips around the labelled training frames, whose "
        "classes weigh the same. Precision, recall and F1 are means over the classes that the "
        "test frames have.",
    ),
    "saliency": Protocol(
        "Fine-tuned saliency prediction",
        "The whole network is fine-tuned to predict a map of where a frame was looked at. KL is "
        "the divergence of the true map from the predicted one, CC their correlation and SIM what "
        "they share; NSS and AUC-Judd judge the predicted map at the points themselves. All are "
        "means over the test frames.",
    ),
    "linear": Protocol(
        "Linear probe",
        "A logistic regression is fitted to the features of the training examples; the encoder "
        "stays as pretraining left it. Top-k is counted as for recognition. Where an example may "
        "have several classes there is one regression for each, and mAP is as fine-tuned.",
    ),
    "attentive": Protocol(
        "Attentive probe",
        "A small network with a learned query is trained to attend to the places of the frozen "
        "network's maps; its learning rate and weight decay are chosen on a part of the training "
        "examples that is kept aside. Scores are averaged over clips, top-k is counted as for "
        "recognition.",
    ),
    "knn": Protocol(
        "kNN",
        "Nothing is trained: the training examples nearest by cosine similarity of the frozen "
        "features vote for their class, closer ones with more weight. Top-k is counted over the "
        "votes.",
    ),
    "retrieval": Protocol(
        "Retrieval",
        "Each test example is a query to the training examples, ranked by cosine similarity of "
        "the frozen features. R@k is the share of queries with an example of their own class "
        "among the first k.",
    ),
    "leave_one_out": Protocol(
        "Leave one out",
        "A linear SVM on the frozen features of all examples but one names the class of that one; "
        "top-1 is the share of examples whose class it names.",
    ),
    "similarity": Protocol(
        "Action similarity",
        "Twelve similarities of the frozen features of two videos are what a linear SVM tells by "
        "whether both show the same, fold by fold after training on the other folds. Accuracy is "
        "the mean over folds, beside it its standard error over folds; AUC is the area under the "
        "ROC curve of all pairs.",
    ),
}


def metric(name: str) -> Metric:
    """The declaration of a metric, its title with the number of ``name``.

    Raises:
        LookupError: it is not declared.
    """
    for pattern, declared in METRICS.items():
        if match := re.fullmatch(pattern, name):
            return replace(declared, title=declared.title.format(*match.groups()))
    raise LookupError(f"metric {name!r} is not declared in videossl.downstream.declarations")


def protocol(name: str) -> Protocol:
    """The declaration of a protocol.

    Raises:
        LookupError: it is not declared.
    """
    if name not in PROTOCOLS:
        raise LookupError(f"protocol {name!r} is not declared in videossl.downstream.declarations")
    return PROTOCOLS[name]
