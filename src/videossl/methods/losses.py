"""Losses of the pretext tasks, as functions of tensors.

Every function works in float32 or wider, whatever precision its inputs and an enclosing autocast
have: at temperature 0.07 a bfloat16 cosine is off by up to 0.06 in the logit.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from videossl import distributed


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def normalize(x: Tensor) -> Tensor:
    """Unit vectors along the last axis, in float32 or wider."""
    return F.normalize(_wide(x), dim=-1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the vectors along the last axis: (..., D), (..., D) -> (...)."""
    return (normalize(a) * normalize(b)).sum(dim=-1)


def _logits(query: Tensor, negatives: Tensor, exclude: Tensor | None, temperature: float) -> Tensor:
    """Cosines (B, K) of every query with every negative, by temperature; excluded ones vanish."""
    with torch.autocast(query.device.type, enabled=False):
        logits = normalize(query) @ normalize(negatives).T / temperature
    if exclude is None:
        return logits
    # finite, unlike -inf, so that a row without any negative left has finite gradients
    return logits.masked_fill(exclude, torch.finfo(logits.dtype).min)


def info_nce(
    query: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    temperature: float,
    negative_mask: Tensor | None = None,
    reduction: Literal["sum_in_log", "mean_of_losses"] = "sum_in_log",
) -> Tensor:
    """InfoNCE with several positives per query, averaged over the batch.

    ``sum_in_log`` is eq. 1 of Feichtenhofer et al. (CVPR 2021): the positives are summed inside
    the logarithm and all of them stand in the denominator. ``mean_of_losses`` is what their
    released code computes: the mean over the positives of one-positive losses, none of which sees
    the other positives. Both are the usual InfoNCE when there is one positive.

    Args:
        query: (B, D).
        positives: (B, P, D).
        negatives: (K, D), shared by all queries, or None.
        temperature: the cosines are divided by it.
        negative_mask: (B, K), True where a negative does not count for a query.
        reduction: how several positives are combined.

    Returns:
        A scalar; 0 for a query with one positive and no negative left.
    """
    each = info_nce_rows(query, positives, negatives, temperature, negative_mask, reduction)
    return each.mean()


def info_nce_rows(
    query: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    temperature: float,
    negative_mask: Tensor | None = None,
    reduction: Literal["sum_in_log", "mean_of_losses"] = "sum_in_log",
) -> Tensor:
    """``info_nce`` of each query, (B,)."""
    positive = cosine(query.unsqueeze(1), positives) / temperature  # (B, P)
    if negatives is None:
        negatives = query.new_empty(0, query.shape[1])
    negative = _logits(query, negatives, negative_mask, temperature)  # (B, K)
    if reduction == "sum_in_log":
        everything = torch.cat([positive, negative], dim=1).logsumexp(dim=1)
        return everything - positive.logsumexp(dim=1)
    rest = negative.logsumexp(dim=1, keepdim=True)  # (B, 1)
    return (torch.logaddexp(positive, rest) - positive).mean(dim=1)


def counted_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of each column over the counted rows of all ranks; 0 without any.

    Args:
        values: (B, ...), this rank's rows.
        counted: of the same shape, which values count.

    Returns:
        (...), whose mean over ranks is the mean in one process with all rows.
    """
    weight = counted.to(values.dtype)
    count = distributed.total(weight.sum(0)).clamp(min=1)
    return (values * weight).sum(0) * distributed.world() / count


def ranking(positive_similarity: Tensor, negative_similarity: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin - (s+ - s-)).

    Source: RSPNet (Chen et al., AAAI 2021), relative speed perception. On cosines, a margin of
    0.14 is the released code's 2.0 on logits at temperature 0.07, with the loss 0.07 times theirs.

    Args:
        positive_similarity: s+, any shape.
        negative_similarity: s-, the same shape.
        margin: the wanted gap.
    """
    gap = _wide(positive_similarity) - _wide(negative_similarity)
    return (margin - gap).clamp(min=0).mean()


def instance_accuracy(
    query: Tensor, positives: Tensor, negatives: Tensor, negative_mask: Tensor | None
) -> Tensor:
    """Share of the (query, positive) pairs that are closer than the query's nearest negative.

    Shapes as in ``info_nce``. A query without any negative counts as right.
    """
    positive = cosine(query.unsqueeze(1), positives)  # (B, P)
    hardest = _logits(query, negatives, negative_mask, 1).amax(dim=1, keepdim=True)
    return (positive > hardest).float().mean()
