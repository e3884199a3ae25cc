"""Watch an encoder while it is pretrained: has it collapsed, and do neighbours share a class?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl import distributed
from videossl.data.datasets.index import UNLABELLED
from videossl.data.loading.loader import CentralBatches
from videossl.data.shards.store import ClipStore
from videossl.models.backbone import Backbone
from videossl.study.schema import Clip
from videossl.train.inference import clip_blocks

COLLAPSED = 1e-3  # of feature_std; a network at its random start is two orders above
HELD_OUT = 5  # every fifth training video asks, the others are its candidates


class Features:
    """The features that an encoder gave last, seen through a hook."""

    def __init__(self, encoder: nn.Module) -> None:
        self.last: Tensor | None = None
        encoder.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module.training:
            pooled = output if isinstance(output, Tensor) else output[-1].mean(dim=(2, 3, 4))
            self.last = pooled.detach()

    def spread(self) -> float:
        """Standard deviation of the unit features over the batch, times the root of their width.

        1 for features spread evenly over the sphere, 0 for a collapsed encoder (as plotted by Chen
        and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, figure 2).
        """
        assert self.last is not None, "the encoder has not run"
        unit = F.normalize(distributed.gather(self.last).float(), dim=1)  # (B, C)
        return float(unit.std(dim=0).mean()) * float(unit.shape[1] ** 0.5)


def neighbour_accuracy(
    store: ClipStore, videos: Sequence[int], clip: Clip, batch_size: int, threads: int
) -> Callable[[nn.Module], float] | None:
    """A monitor: how often a training video's nearest neighbour has its class.

    None where the videos have no classes.

    Both are training videos, so that watching never looks at the test part; labels decide nothing
    in training. Deterministic: one central clip per video, cosine similarity.
    """
    labelled = [video for video in videos if store.videos[video].label != UNLABELLED]
    asking = [video for place, video in enumerate(labelled) if place % HELD_OUT == 0]
    others = [video for place, video in enumerate(labelled) if place % HELD_OUT]
    if not others:
        return None

    def features(encoder: nn.Module, chosen: Sequence[int]) -> Tensor:
        colours = cast(Backbone, encoder).colours
        source = CentralBatches(store, chosen, clip, 1, batch_size)
        blocks = clip_blocks(encoder, source, threads, colours)
        return F.normalize(torch.from_numpy(np.concatenate(list(blocks))[:, 0]), dim=1)

    def measure(encoder: nn.Module) -> float:
        nearest = (features(encoder, asking) @ features(encoder, others).T).argmax(dim=1).tolist()
        right = [
            store.videos[a].label == store.videos[others[b]].label
            for a, b in zip(asking, nearest, strict=True)
        ]
        return float(sum(right)) / len(right)

    return measure
