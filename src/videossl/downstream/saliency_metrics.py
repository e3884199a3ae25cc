"""Saliency metrics of one map each: how well it says where a frame was looked at.

Definitions of the MIT/Tübingen benchmark (Bylinskii et al., "What Do Different Evaluation Metrics
Tell Us About Saliency Models?", PAMI 2019). Maps are (H, W), of values from 0 on, and sum to 1;
``looked`` is (H, W), whether a pixel was looked at. A map that is the same everywhere gets what
chance gives: NSS and CC of 0 and, for n pixels that were looked at, an AUC of (n + 2) / (2n + 2):
after the last threshold the curve goes straight to its end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating[Any]]
Looked = NDArray[np.bool_]
EPSILON = float(np.finfo(np.float64).eps)
JITTER = 1e-7  # of the largest value: which of equal pixels come first is drawn
SEED = 0


def pixels(points: Map, height: int, width: int) -> Looked:
    """The pixels that points [x, y], shares of width and height, are in; rows of nan are none."""
    looked = np.zeros((height, width), bool)
    there = points[~np.isnan(points).any(axis=1)]
    x = np.minimum((there[:, 0] * width).astype(np.int64), width - 1)
    y = np.minimum((there[:, 1] * height).astype(np.int64), height - 1)
    looked[y, x] = True
    return looked


def divergence(predicted: Map, true: Map) -> float:
    """KL: sum of Q ln(eps + Q / (P + eps)); 0 where both are equal, less is better."""
    p, q = predicted.astype(np.float64), true.astype(np.float64)
    return float((q * np.log(EPSILON + q / (p + EPSILON))).sum())


def scanpath_saliency(predicted: Map, looked: Looked) -> float:
    """NSS: mean of the map, standardised, over the pixels that were looked at."""
    p = predicted.astype(np.float64)
    return float(_standardised(p)[looked].mean())


def correlation(predicted: Map, true: Map) -> float:
    """CC: Pearson's correlation over pixels, -1 to 1."""
    p, q = (_standardised(x.astype(np.float64)) for x in (predicted, true))
    return float((p * q).mean())


def similarity(predicted: Map, true: Map) -> float:
    """SIM: sum of the smaller of both, each from 0 and summing to 1 before; 0 to 1."""
    p, q = (_from_zero(x.astype(np.float64)) for x in (predicted, true))
    return float(np.minimum(p, q).sum())


def judd_area(predicted: Map, looked: Looked) -> float:
    """AUC-Judd: area under the curve of hits over false alarms, 0 to 1.

    Thresholds are the map's values where it was looked at; all other pixels are the negatives.
    Equal values are told apart by a jitter that is the same for every map of one shape. Where every
    pixel was looked at there are no negatives, and it is 0.5.
    """
    found, total = int(looked.sum()), looked.size
    if found == total:
        return 0.5
    p = predicted.astype(np.float64)
    low, high = p.min(), p.max()
    p = (p - low) / (high - low) if high > low else np.zeros_like(p)
    p = p + JITTER * np.random.default_rng(SEED).random(p.shape)
    thresholds = np.sort(p[looked])[::-1]
    above = total - np.searchsorted(np.sort(p.ravel()), thresholds, side="left")
    order = np.arange(1, found + 1)
    hits = np.concatenate(([0.0], order / found, [1.0]))
    alarms = np.concatenate(([0.0], (above - order) / (total - found), [1.0]))
    return float(np.trapezoid(hits, alarms))


def _standardised(values: Map) -> Map:
    """Of mean 0 and deviation 1; 0 everywhere where all are equal."""
    deviation = values.std()
    if values.max() == values.min() or deviation == 0:
        return np.zeros_like(values)
    standardised: Map = (values - values.mean()) / deviation
    return standardised


def _from_zero(values: Map) -> Map:
    """Least value 0, sum 1; where all are equal, all the same share."""
    values = values - values.min()
    total = values.sum()
    shares: Map = values / total if total else np.full_like(values, 1 / values.size)
    return shares
