"""Blocks of ``params.yaml`` about rows without pretraining, tests, protocols and the report."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from videossl.study.schema.blocks import Block, Count, Name, NonNegative, Positive
from videossl.study.schema.data import Clip
from videossl.study.schema.training import Augment, Precision

Splits = Annotated[list[Count], Field(min_length=1)]


FrameSampling = Literal["window", "cover"]  # which frames a clip has


class Baseline(Block):
    """A row that is not pretrained here."""

    weights: Annotated[str, Field(min_length=1)]
    backbone: Name


class Views(Block):
    """How a fine-tuned network is tested: which views of an example, and what is reported.

    Keys that may be absent are of some kinds of labels only (``consistency``).
    """

    clips: Count
    crops: Literal[1, 3]
    batch_size: Count
    average: Literal["softmax", "logits"] | None = None
    topk: Annotated[list[Count], Field(min_length=1)] | None = None
    detector_score: Annotated[float, Field(ge=0, le=1)] | None = None


class Finetune(Block):
    """A test that trains the whole network on the labelled part of a dataset."""

    data: Name
    labels: Name
    splits: Splits
    share: Annotated[float, Field(gt=0, le=1)]
    validation: Annotated[float, Field(ge=0, lt=1)]
    clip: Clip
    sampling: FrameSampling
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    precision: Precision
    dropout: Annotated[float, Field(ge=0, lt=1)]
    optimizer: Name
    head_lr: Positive
    dilated: bool = False  # may be absent; of a Slow network, for boxes and maps
    augment: Augment
    never_flipped: list[str]
    test: Views


class Features(Block):
    """Features of every example, computed once for all protocols and splits."""

    clips: Count
    layers: Annotated[list[Annotated[int, Field(ge=-8, le=-1)]], Field(min_length=1)]
    pool: Literal["mean", "max"]
    tokens: bool
    batch_size: Count


class Linear(Block):
    """Logistic regression on frozen features."""

    solver: Literal["lbfgs", "batched"]
    regularization: Positive
    iterations: Count


class KNN(Block):
    """Weighted k-nearest-neighbour vote on frozen features."""

    neighbours: Count
    temperature: Positive


class Retrieval(Block):
    """Nearest neighbours of test examples among training examples."""

    topk: Annotated[list[Count], Field(min_length=1)]


Rates = Annotated[list[Positive], Field(min_length=1)]
Decays = Annotated[list[NonNegative], Field(min_length=1)]


class Attentive(Block):
    """Cross-attention pooling over the tokens of frozen features, and a linear classifier."""

    heads: Count
    rates: Rates
    decays: Decays
    epochs: Count
    batch_size: Count
    validation: Annotated[float, Field(gt=0, lt=1)]


class LeaveOneOut(Block):
    """A linear SVM on all examples but the one that it is tested on."""

    regularization: Positive


class Similarity(Block):
    """A linear SVM on similarities of two examples' features."""

    regularization: Positive


class Probe(Block):
    """A test on the frozen network: its features, and the protocols that judge them.

    Of the protocols an entry runs, no entry does not.
    """

    protocols: ClassVar[tuple[str, ...]] = (
        "linear",
        "attentive",
        "knn",
        "retrieval",
        "leave_one_out",
        "similarity",
    )

    data: Name
    labels: Name
    splits: Splits
    clip: Clip
    features: Features
    linear: Linear | None = None
    attentive: Attentive | None = None
    knn: KNN | None = None
    retrieval: Retrieval | None = None
    leave_one_out: LeaveOneOut | None = None
    similarity: Similarity | None = None

    @property
    def run(self) -> list[str]:
        """The protocols that have an entry."""
        return [name for name in self.protocols if getattr(self, name) is not None]


class Report(Block):
    """The report."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    decimals: Annotated[int, Field(ge=0, le=4)]
