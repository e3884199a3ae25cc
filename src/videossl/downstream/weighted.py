"""Metrics of many samples of the examples at once, each a count of how often it holds an example.

What a sample holds several times counts as often, so one ranking serves all samples: precision and
recall are sums of counts. The numbers are those that the metric gives for the examples of a sample,
in the order of the test part, each as often as it is there. ``remeasure`` alone uses this, so a
change here reruns no stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from videossl.downstream import average_precision
from videossl.downstream.metrics import Predictions

Counts = NDArray[np.int32]  # (N, S), how often each of S samples holds each of N examples
Found = NDArray[np.float64]  # (S,), nan where a sample does not define the metric
OfSamples = Callable[[Counts], Found]


@dataclass(frozen=True)
class _Ranking:
    """Boxes from the highest score of a class on.

    Attributes:
        examples: (K,) which example each is of.
        hits: (K,) whether it is right.
        group: (K,) numbers that rise; boxes of one example that the order of copies tells apart
            have one number: in a sample with two copies of it, all of the second come first.
        true: (M,) which example each true box is of.
    """

    examples: NDArray[np.int64]
    hits: NDArray[np.bool_]
    group: NDArray[np.int64]
    true: NDArray[np.int64]


def frame_map(predictions: Predictions) -> OfSamples:
    """Frame-mAP of samples; as ``detection.frame_map``."""
    found, true = average_precision.boxes_of(predictions)
    rankings = []
    for c, (order, hits) in average_precision.matched(found, true).items():
        scores, examples = found.classes[order, c], found.frames[order]
        own = true.frames[true.classes[:, c].astype(bool)]
        rankings.append(_Ranking(examples, hits, _groups(examples, scores, hits), own))
    return lambda counts: _mean([_interpolated(one, counts) for one in rankings], counts)


def _groups(
    examples: NDArray[np.int64], scores: NDArray[Any], hits: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Runs of one example and one score, if some of its boxes are right and some wrong."""
    if not len(examples):
        return np.zeros(0, np.int64)
    new = np.ones(len(examples), bool)
    new[1:] = (examples[1:] != examples[:-1]) | (scores[1:] != scores[:-1])
    run = np.cumsum(new) - 1
    sizes, right = np.bincount(run), np.bincount(run, hits)
    uneven = ((right > 0) & (right < sizes))[run]
    return np.cumsum(new | ~uneven) - 1


def _interpolated(ranking: _Ranking, counts: Counts) -> Found:
    """Average precision whose precision falls with recall, (S,); nan without a true box.

    Among copies of a right box the precision rises, and only right boxes make it rise: what is
    looked at is the last copy of each.
    """
    examples, hits, rows = ranking.examples, ranking.hits, counts
    sizes = np.bincount(ranking.group, minlength=1)
    if len(examples) and sizes.max() > 1:
        examples, hits, rows = _copies(ranking, sizes, counts)
    total = counts[ranking.true].sum(axis=0)
    ends = np.flatnonzero(hits)
    right = np.cumsum(rows[examples[ends]], axis=0, dtype=np.int32)
    seen = _sums(examples, ends, rows)
    highest = np.maximum.accumulate((right / np.maximum(seen, 1))[::-1], axis=0)[::-1]
    area = (rows[examples[ends]] * highest).sum(axis=0)
    return _ratio(area, total)


def _copies(
    ranking: _Ranking, sizes: NDArray[np.int64], counts: Counts
) -> tuple[NDArray[np.int64], NDArray[np.bool_], Counts]:
    """A ranking in which the copies of examples with uneven groups are examples of their own."""
    uneven = sizes[ranking.group] > 1
    several = np.unique(ranking.examples[uneven])
    most = int(counts[several].max(initial=1))
    copies = np.arange(1, most + 1)
    # (several, most, S): whether a sample has a first copy, a second, ...
    there = (counts[several][:, None] >= copies[:, None]).astype(np.int32)
    rows = np.concatenate([counts, there.reshape(-1, counts.shape[1])])
    repeats = np.where(uneven, most, 1)
    boxes = np.repeat(np.arange(len(uneven)), repeats)
    inside = np.arange(len(boxes)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    copy = np.where(uneven[boxes], inside + 1, 0)
    boxes = boxes[order := np.lexsort((boxes, copy, ranking.group[boxes]))]
    copy = copy[order]
    examples = ranking.examples[boxes]
    own = len(counts) + np.searchsorted(several, examples) * most + copy - 1
    return np.where(copy > 0, own, examples), ranking.hits[boxes], rows


def _sums(examples: NDArray[np.int64], ends: NDArray[np.int64], rows: Counts) -> Counts:
    """The counts up to each of some places in a ranking, that place included: (ends, S)."""
    last = int(ends[-1]) + 1 if len(ends) else 0
    first = np.concatenate([[0], ends + 1]).astype(np.int64)
    ones = np.ones(last, np.int32)
    parts = sparse.csr_array((ones, examples[:last], first), shape=(len(ends), len(rows)))
    found: Counts = np.cumsum(parts @ rows, axis=0, dtype=np.int32)
    return found


def video_map(predictions: Predictions) -> OfSamples:
    """Mean average precision of samples; as ``average_precision.of_videos``."""
    labels = predictions["labels"]
    last = average_precision.behind(labels, predictions["scores"])
    orders = np.argsort(-last, axis=0, kind="stable")

    def of_class(c: int, counts: Counts) -> Found:
        order = orders[:, c]
        true, score = labels[order, c], last[order, c]
        ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
        right = np.cumsum(np.where(true[:, None], counts[order], 0), axis=0, dtype=np.int32)[ends]
        precision = right / np.maximum(_sums(order, ends, counts), 1)
        area = (np.diff(right, axis=0, prepend=0) * precision).sum(axis=0)
        return _ratio(area, right[-1])

    present = np.flatnonzero(labels.any(axis=0)).tolist()
    return lambda counts: _mean([of_class(c, counts) for c in present], counts)


def macro(name: str) -> Callable[[Predictions], OfSamples]:
    """Macro precision, recall or F1 of samples; as ``metrics.macro``."""

    def of(predictions: Predictions) -> OfSamples:
        labels, predicted = predictions["labels"], predictions["scores"].argmax(axis=1)
        classes = predictions["scores"].shape[1]

        def sums(own: NDArray[np.int64], which: NDArray[np.bool_], counts: Counts) -> NDArray[Any]:
            """How many examples of each class there are, (classes, S)."""
            places = np.flatnonzero(which)
            one = (np.ones(len(places), np.int32), (own[places], places))
            found: NDArray[Any] = sparse.csr_array(one, shape=(classes, len(own))) @ counts
            return found

        def measured(counts: Counts) -> Found:
            every = np.ones(len(labels), bool)
            true, taken = sums(labels, every, counts), sums(predicted, every, counts)
            right = sums(labels, labels == predicted, counts)
            over = {"precision": taken, "recall": true, "F1": (true + taken) / 2}[name]
            share = np.where(true > 0, right / np.maximum(over, 0.5), np.nan)
            return _mean(list(share), counts)

        return measured

    return of


def _mean(of_classes: list[Found], counts: Counts) -> Found:
    """The mean over the classes that a sample defines, (S,); nan where there is none."""
    values = np.array(of_classes).reshape(-1, counts.shape[1])
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def _ratio(over: NDArray[Any], under: NDArray[Any]) -> Found:
    """nan where nothing is under."""
    found: Found = np.divide(over, under, out=np.full(len(under), np.nan), where=under > 0)
    return found


TOTALS: dict[str, Callable[[Predictions], OfSamples]] = {  # metric -> what measures samples
    "frame_mAP": frame_map,
    "mAP": video_map,
    **{f"macro_{name}": macro(name) for name in ("precision", "recall", "F1")},
}
