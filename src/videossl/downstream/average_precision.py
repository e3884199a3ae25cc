"""Average precision, of scores for videos and of scored boxes in frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossl.downstream.metrics import Predictions, check_scores

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


def of_videos(labels: Bools, scores: Floats) -> float:
    """Mean over classes of average precision: the mean precision at the places of true videos.

    Classes without a true video are left out; with none left the result is nan. Videos without any
    class rank behind all others, as in Charades' official evaluation (Charades_v1_classify).

    Args:
        labels: (N, classes), whether a video has a class.
        scores: (N, classes), larger is surer; equal scores share a place.

    Raises:
        UserError: a score is not a number.
    """
    from videossl.downstream.scikit import average_precision_score  # boxes need none of it

    check_scores(scores)
    last = behind(labels, scores)
    present = labels.any(axis=0)
    found = [average_precision_score(labels[:, c], last[:, c]) for c in np.flatnonzero(present)]
    return float(np.mean(found)) if found else float("nan")


def behind(labels: Bools, scores: Floats) -> Floats:
    """The scores (N, classes), those of videos without any class below all others."""
    return np.where(labels.any(axis=1, keepdims=True), scores, scores.min() - 1)


@dataclass(frozen=True)
class Boxes:
    """Boxes in frames, in any order.

    Attributes:
        places: (K, 4) left, top, right, bottom.
        frames: (K,) which frame each is in.
        classes: (K, C), the score of each class; of true boxes, whether it has the class.
    """

    places: NDArray[np.float64]
    frames: NDArray[np.int64]
    classes: NDArray[Any]


def boxes_of(predictions: Predictions) -> tuple[Boxes, Boxes]:
    """The scored and the true boxes of evaluated classes; frames are places of examples.

    Args:
        predictions: of N examples. ``found_range`` and ``true_range`` (N, 2) say which boxes are an
            example's: from the first number to before the second. Boxes are the second dimension of
            ``found_places`` and ``true_places`` (1, K, 4), ``scores`` (1, K, classes) and
            ``labels`` (1, K, classes), so that resampling examples leaves these as they are.
            ``evaluated`` is (1, evaluated classes).
    """
    evaluated = predictions["evaluated"][0]
    made = []
    for name, classes in (("found", "scores"), ("true", "labels")):
        begin, end = predictions[f"{name}_range"].T
        counts = end - begin
        frames = np.repeat(np.arange(len(counts)), counts)
        inside = np.arange(len(frames)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(begin, counts) + inside
        columns = predictions[classes][0][:, evaluated][rows]
        made.append(Boxes(predictions[f"{name}_places"][0][rows], frames, columns))
    return made[0], made[1]


def of_boxes(found: Boxes, true: Boxes, overlap: float = 0.5) -> NDArray[np.float64]:
    """Average precision of each class over scored boxes, (C,); nan for classes without a true box.

    Every box is scored for every class. From the highest score on, a box is right if the true box
    of its class in its frame that overlaps it most does so by at least ``overlap``
    (intersection over union) and is not taken yet; else it is wrong, even if another true box is
    free. The precision is made to fall with recall, and its area is taken (PASCAL VOC since 2010).

    So does the evaluation of AVA (ActivityNet's ``object_detection``), which PySlowFast runs: boxes
    of equal scores are sorted by a reversed sort, within each frame and then over all. Of equal
    boxes of one frame the last takes the true box, and counts as the last of them; frames of equal
    scores come from the last to the first. Unlike the sort there, this one is stable.
    """
    precisions = np.full(true.classes.shape[1], np.nan)
    for c, (_, hits) in matched(found, true, overlap).items():
        precisions[c] = _area(hits, int(true.classes[:, c].sum()))
    return precisions


def matched(
    found: Boxes, true: Boxes, overlap: float = 0.5
) -> dict[int, tuple[NDArray[np.int64], Bools]]:
    """Of each class with a true box: (K,) numbers of the boxes from the highest score on, and (K,)
    whether each is right; ``of_boxes`` says when it is.
    """
    order = np.lexsort((-np.arange(len(found.frames)), found.frames))
    scores = found.classes[order]
    box, truth, area = _pairs(found, true, order)
    # of a box: its true boxes from that of the largest overlap on, of equal ones the first
    sort = np.lexsort((truth, -area, box))
    box, truth, area = box[sort], truth[sort], area[sort]
    made = {}
    for c in np.flatnonzero(true.classes.any(axis=0)).tolist():
        of_class = true.classes[:, c].astype(bool)[truth]
        best_box, best = np.unique(box[of_class], return_index=True)
        near = area[of_class][best] >= overlap
        right = _first(best_box[near], truth[of_class][best][near], scores[:, c])
        hits = np.zeros(len(scores), bool)
        hits[right] = True
        ranked = np.argsort(scores[:, c], kind="stable")[::-1]
        made[c] = order[ranked], hits[ranked]
    return made


def _pairs(
    found: Boxes, true: Boxes, order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of a box and a true box of one frame: places in ``order``, numbers, overlaps."""
    by_frame = np.argsort(true.frames, kind="stable")
    frames = true.frames[by_frame]
    first = np.searchsorted(frames, found.frames[order], side="left")
    counts = np.searchsorted(frames, found.frames[order], side="right") - first
    box = np.repeat(np.arange(len(order)), counts)
    inside = np.arange(len(box)) - np.repeat(np.cumsum(counts) - counts, counts)
    truth = by_frame[np.repeat(first, counts) + inside]
    return box, truth, _overlaps(found.places[order][box], true.places[truth])


def _overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union, pair by pair; 0 where neither has an area."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.prod(np.maximum(sides, 0), axis=1)
    areas = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    union = sum(areas) - both
    shares: NDArray[np.float64] = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares


def _first(
    boxes: NDArray[np.int64], truths: NDArray[np.int64], scores: Floats
) -> NDArray[np.int64]:
    """Of the boxes that a true one is nearest to, the one of the highest score, for each."""
    sort = np.lexsort((boxes, -scores[boxes], truths))
    return boxes[sort][np.unique(truths[sort], return_index=True)[1]]


def _area(hits: Bools, total: int) -> float:
    """Area under precision over recall, of hits from the highest score on."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a larger one
    return float(highest[hits].sum() / total)
