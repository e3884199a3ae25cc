"""Blocks of ``params.yaml`` about rows that are not pretrained, protocols and the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from videossl.study.schema.blocks import Block, Count, Name, Positive


class Baseline(Block):
    """A row that is not pretrained here."""

    weights: Annotated[str, Field(min_length=1)]


class Embed(Block):
    """Features of every video, for all frozen-feature protocols."""

    clips: Count
    pool: Literal["mean", "max"]
    batch_size: Count


class Recognition(Block):
    """Multi-clip testing of the fine-tuned classifier."""

    clips: Count
    batch_size: Count
    topk: Annotated[list[Count], Field(min_length=1)]


class Linear(Block):
    """Logistic regression on frozen features."""

    regularization: Positive
    iterations: Count


class KNN(Block):
    """Weighted k-nearest-neighbour vote on frozen features."""

    neighbours: Count
    temperature: Positive


class Retrieval(Block):
    """Nearest neighbours of test videos among train videos."""

    topk: Annotated[list[Count], Field(min_length=1)]


class Frozen(Block):
    """Protocols on frozen features: an entry runs, no entry does not."""

    linear: Linear | None = None
    knn: KNN | None = None
    retrieval: Retrieval | None = None


class Finetuned(Block):
    """Protocols on the fine-tuned classifier: an entry runs, no entry does not."""

    recognition: Recognition | None = None


class Evaluate(Block):
    """Downstream protocols, and the datasets that every row is tested on."""

    datasets: Annotated[list[Name], Field(min_length=1)]
    finetuned: Finetuned
    frozen: Frozen


class Report(Block):
    """The report."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    baseline: Name
    decimals: Annotated[int, Field(ge=0, le=4)]
