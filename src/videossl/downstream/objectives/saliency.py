"""Objective of the kind ``gaze``: a map that says where a frame was looked at.

The true map is a sum of Gaussians around the points that were looked at, and sums to 1; the loss is
its divergence from the network's map. Source: Droste et al., IPMI 2019; Jiao et al., ISBI 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading.fields import Field
from videossl.data.loading.loader import Batch
from videossl.downstream import metrics, objective, saliency_metrics
from videossl.downstream.examples import Examples, Numbers
from videossl.downstream.objective import Objective, Predictions, Score, Totals, Values
from videossl.models.map_heads import SaliencyMap
from videossl.study import schema


class Saliency(Objective):
    """Convolutions on the last map; outputs are logits (B, S / 4, S / 4) of clips of side S."""

    protocol = "saliency"
    whole = True

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples)
        targets = [target or {"points": [], "sigma": [1.0, 1.0]} for target in examples.targets]
        most = max([1, *(len(target["points"]) for target in targets)])
        # (N, most, 2) shares of width and height; nan where an example has fewer points
        self.points = torch.full((len(targets), most, 2), float("nan"))
        for number, target in enumerate(targets):
            if target["points"]:
                self.points[number, : len(target["points"])] = torch.tensor(target["points"])
        self.sigmas = torch.tensor([target["sigma"] for target in targets])  # (N, 2)

    def network(self, encoder: nn.Module, dropout: float) -> nn.Module:
        """Clips (B, 3, T, S, S) -> logits (B, S / 4, S / 4)."""
        return SaliencyMap(encoder, dropout)

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The points (B, most, 2), mirrored where the clip is, and the deviations (B, 2)."""
        device = batch.example.device
        self.points, self.sigmas = self.points.to(device), self.sigmas.to(device)
        points = self.points[batch.example]
        flipped = batch.draws[0][:, Field.FLIP] > 0
        across = torch.where(flipped[:, None], 1 - points[..., 0], points[..., 0])
        return torch.stack((across, points[..., 1]), dim=-1), self.sigmas[batch.example]

    def loss(self, outputs: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        """KL divergence of the true map from that of logits (B, H, W), mean over the batch."""
        true = gaze_map(*target, *outputs.shape[1:]).flatten(1)
        predicted = outputs.float().flatten(1).log_softmax(-1)
        return F.kl_div(predicted, true, reduction="batchmean")

    def validate(self, outputs: Tensor, numbers: Numbers) -> Score:
        """The loss of one clip per example."""
        chosen = torch.from_numpy(numbers)
        loss = float(self.loss(outputs, (self.points.cpu()[chosen], self.sigmas.cpu()[chosen])))
        return [-loss], {"validation_loss": loss}

    def predictions(self, outputs: Tensor, numbers: Numbers, views: schema.Views) -> Predictions:
        """Maps (N, H, W) that sum to 1, with the points and deviations that they should show.

        A moment has one view (``consistency``).
        """
        maps = objective.by_view(outputs, numbers)[:, 0]
        shares = maps.flatten(1).softmax(-1).view_as(maps).numpy()
        points, sigmas = (x.cpu().numpy()[numbers] for x in (self.points, self.sigmas))
        return {"maps": shares, "points": points, "sigmas": sigmas}

    def measure(self, predictions: Predictions, views: schema.Views) -> tuple[Values, Totals]:
        """KL, NSS, AUC-Judd, CC and SIM of each map at its own resolution."""
        maps, points = predictions["maps"], predictions["points"]
        metrics.check_scores(maps)
        height, width = maps.shape[1:]
        found: dict[str, list[float]] = {name: [] for name in METRICS}
        for one, own, sigma in zip(maps, points, predictions["sigmas"], strict=True):
            places, deviation = (torch.from_numpy(x).double()[None] for x in (own, sigma))
            true = gaze_map(places, deviation, height, width)[0].numpy()
            looked = saliency_metrics.pixels(own, height, width)
            for name, metric in METRICS.items():
                found[name].append(metric(one, true, looked))
        return {name: np.array(values) for name, values in found.items()}, {}


METRICS: dict[str, Callable[[Any, Any, Any], float]] = {
    "KL": lambda one, true, looked: saliency_metrics.divergence(one, true),
    "NSS": lambda one, true, looked: saliency_metrics.scanpath_saliency(one, looked),
    "AUC_Judd": lambda one, true, looked: saliency_metrics.judd_area(one, looked),
    "CC": lambda one, true, looked: saliency_metrics.correlation(one, true),
    "SIM": lambda one, true, looked: saliency_metrics.similarity(one, true),
}


def gaze_map(points: Tensor, sigmas: Tensor, height: int, width: int) -> Tensor:
    """Maps (B, H, W) that sum to 1: a Gaussian around each point, added up, at pixel centres.

    Args:
        points: (B, P, 2) x and y as shares of width and height; nan where there is none.
        sigmas: (B, 2) deviations across and down, in the same shares.
        height: pixels of the map.
        width: pixels of the map.
    """
    squares = []
    for axis, side in ((1, height), (0, width)):
        centres = (torch.arange(side).to(points) + 0.5) / side
        distance = (centres - points[..., axis, None]) / sigmas[:, None, axis, None]
        squares.append(distance.square() / 2)  # (B, P, side)
    down, across = squares
    logs = -(down[..., :, None] + across[..., None, :])  # (B, P, H, W)
    logs = torch.where(logs.isnan(), -torch.inf, logs).logsumexp(dim=1)
    return logs.flatten(1).softmax(-1).view_as(logs)


def build(examples: Examples) -> Saliency:
    """The objective of these examples."""
    return Saliency(examples)
