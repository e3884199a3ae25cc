"""Order + geometry: which order frames had, and which affine map a clip went through.

Source: Jiao et al., "Self-supervised Representation Learning for Ultrasound Video", ISBI 2020.
Order: the frames of a clip are shuffled, and the class of their permutation is predicted; an order
and its reverse are one class. Geometry: a clip is transformed, and the parameters of the map are
predicted from it and the original. The losses are added.

``siamese`` has a stream for each task; the first stages are the same modules in both.
``disentangled`` has one network, which sees the shuffled and transformed clip and the original; one
half of its features is for the order, the other for the map.

Backbones here are 3D, where the paper's is 2D. How a network gets both clips was not published.
Here heads see differences of features, in which appearance cancels; with both clips' features side
by side, neither task is learnt in the built-in study. Order: the shuffled clip less the original,
or alone, as in the paper (``reference``: with the original, frames are matched, not ordered).
Geometry: original and transformed clip as one, less the same played backwards, which shows the
inverse map. In the disentangled variant, both: the changed clip less the original.
"""

from __future__ import annotations

import copy
from itertools import permutations
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading import sampling
from videossl.data.loading.sampling import ClipRequest
from videossl.methods.base import Method
from videossl.models.heads import MLP
from videossl.models.warp import affine, affine_reach, warp
from videossl.needs import OrderedFrames
from videossl.study import schema

ORDER, MAP = 0, slice(1, None)  # columns of the labels: the class, and the parameters
PARAMETERS = 5  # of a map: rotation, scale, shear, shift to the right, shift down
STAGES = 4  # of every backbone


def orders(frames: int) -> list[tuple[int, ...]]:
    """One permutation of each class, by label: of an order and its reverse, the lower one."""
    return [order for order in permutations(range(frames)) if order[0] < order[-1]]


def matrices(task: schema.Order, parameters: Tensor) -> Tensor:
    """The maps (B, 3, 3) of parameters (B, 5) in [-1, 1], which are shares of the task's limits."""
    rotation, scale, shear = parameters[:, :3].unbind(dim=1)
    low, high = task.scale
    scale = (low + high) / 2 + (high - low) / 2 * scale
    shift = task.translation * parameters[:, 3:]
    return affine(task.rotation * rotation, scale, task.shear * shear, shift)


def partner(encoder: nn.Module, shared: int) -> nn.Module:
    """A copy of a backbone whose first stages are the backbone's own modules.

    Args:
        encoder: its children run in the order they are listed in, as those of all backbones do.
        shared: how many of the four stages, with what comes before them; 0 shares nothing.
    """
    top = list(encoder.children())
    parts = top if len(top) > 1 else list(top[0].children())  # an inflated network is one child
    trained = [part for part in parts if any(True for _ in part.parameters())]
    first = trained[: len(trained) - STAGES + shared] if shared else []
    return copy.deepcopy(encoder, {id(part): part for part in first})


class OrderGeometry(OrderedFrames, Method):
    """The method; its clips are the shuffled one and the original, under one draw."""

    def __init__(
        self,
        params: schema.OrderGeometry,
        task: schema.Order,
        clip: schema.Clip,
        encoder: nn.Module,
    ) -> None:
        super().__init__(encoder)
        self.params, self.task, self.clip = params, task, clip
        self.span = self.reach(params, task, clip).frames
        self.orders = orders(task.frames)
        widest = affine_reach(task.rotation, task.scale[0], task.shear, task.translation)
        self.zoom = max(widest, 1.0)  # the original must fit too
        order = transform = self.num_features
        if params.variant == "siamese":
            self.other = partner(encoder, params.shared)
        else:
            order = self.num_features // 2
            transform -= order
        self.order_head = MLP([order, params.hidden, len(self.orders)], batch_norm=True)
        self.transform_head = MLP([transform, params.hidden, PARAMETERS], batch_norm=True)
        for head in (self.order_head, self.transform_head):  # both tasks start at chance
            nn.init.zeros_(cast(nn.Linear, head.layers[-1]).weight)

    def requests(self, rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        """A window's frames shuffled, with the class; and in order, with the map's parameters."""
        label = int(rng.integers(len(self.orders)))
        order = self.orders[label][:: 1 if rng.random() < 0.5 else -1]
        parameters = rng.uniform(-1, 1, PARAMETERS)
        start = sampling.random_start(rng, num_frames, self.span)
        stride = self.clip.stride * self.task.stride
        frames = sampling.window(num_frames, start, self.task.frames, stride)
        return [
            ClipRequest(frames[list(order)], draw_id=0, labels=(float(label),)),
            ClipRequest(frames, draw_id=0, labels=tuple(parameters.tolist())),
        ]

    def prepare(self, clips: list[Tensor], labels: Tensor) -> list[Tensor]:
        """What each network sees, first halves before second halves; ``labels`` as in forward."""
        shuffled, original = clips
        maps = matrices(self.task, labels[:, MAP])
        if self.params.variant == "siamese":
            seen = [shuffled, original] if self.task.reference == "original" else [shuffled]
            return [torch.cat(seen), self._both_ways(original, maps)]
        both = [self._warped(shuffled, maps), self._warped(original, self._identity(maps))]
        return [torch.cat(both)]

    def shown(self, clips: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """What ``prepare`` makes, taken apart."""
        seen = self.prepare(clips, labels)
        parts = [part for clip in seen for part in clip.chunk(len(clip) // len(labels))]
        if self.params.variant == "disentangled":
            names = ["shuffled and transformed", "original"]
        else:
            names = ["shuffled", "original"][: len(parts) - 2]
            names += ["original, then transformed", "the same backwards"]
        return dict(zip(names, parts, strict=True))

    def forward(
        self, clips: list[Tensor], video: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See ``Method.forward``; ``labels`` is the class and the map's five parameters."""
        assert labels is not None  # both requests carry some
        order_class, parameters = labels[:, ORDER].long(), labels[:, MAP]
        if self.params.variant == "siamese":
            order, transform = self._siamese(*clips)
        else:
            order, transform = self._disentangled(*clips)
        logits, predicted = self.order_head(order), self.transform_head(transform)
        logits, predicted = logits.to(labels.dtype), predicted.to(labels.dtype)

        order_loss = F.cross_entropy(logits, order_class)
        transform_loss = F.smooth_l1_loss(predicted, parameters)
        return {
            "loss": order_loss + self.params.transform_weight * transform_loss,
            "order_loss": order_loss.detach(),
            "transform_loss": transform_loss.detach(),
            "order_accuracy": (logits.argmax(dim=1) == order_class).float().mean(),
            "transform_error": (predicted.detach() - parameters).abs().mean(),
        }

    def _siamese(self, orders: Tensor, ways: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads see, of the order and of the map: (B, C) each."""
        streams = (self.encoder, self.other)
        first, second = streams if self.params.kept == "order" else streams[::-1]
        order = first(orders)
        if self.task.reference == "original":
            after, before = order.chunk(2)
            order = after - before
        forwards, backwards = second(ways).chunk(2)
        return order, forwards - backwards

    def _disentangled(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the two parts of one network's features."""
        after, before = self.encoder(both).chunk(2)
        half = self.num_features // 2
        transform = (after - before)[:, half:]
        return (after - before if self.task.reference == "original" else after)[:, :half], transform

    def _both_ways(self, clip: Tensor, maps: Tensor) -> Tensor:
        """The clip and then the transformed clip as one, played both ways: (2 B, 3, T, S, S).

        The transformed one comes last frame first: frames meet their originals in the middle, and
        what moves in them moves there and back. So the map alone tells the two ways apart. Every
        second frame will do, as all go through one map.
        """
        clip = clip[:, :, ::2]
        still, moved = self._warped(clip, self._identity(maps)), self._warped(clip, maps)
        joined = torch.cat([still, moved.flip(2)], dim=2)  # (B, 3, K, S, S), or K + 1 frames
        return torch.cat([joined, joined.flip(2)])

    def _warped(self, clip: Tensor, maps: Tensor) -> Tensor:
        return warp(clip, maps, self.zoom)

    @staticmethod
    def _identity(maps: Tensor) -> Tensor:
        return torch.eye(3, device=maps.device, dtype=maps.dtype).expand_as(maps)


def build(
    params: schema.OrderGeometry, task: schema.Order, clip: schema.Clip, encoder: nn.Module
) -> OrderGeometry:
    """The method around ``encoder``."""
    return OrderGeometry(params, task, clip, encoder)
