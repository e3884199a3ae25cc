"""Which training examples are used, and which of those are kept aside to choose by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def choose_labelled(
    labels: Sequence[int], share: float, validation: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the labelled videos for training and for validation, class by class.

    Each class gives ``share`` of its videos, rounded, at least one for training; of those,
    ``validation`` are kept aside, rounded, at least one where a class gives two or more; none where
    it is 0.
    """
    train: list[int] = []
    kept: list[int] = []
    places: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    for label, members in sorted(places.items()):
        order = np.random.default_rng([seed, label]).permutation(members).tolist()
        count = max(1, round(share * len(members)))
        aside = min(count - 1, max(1, round(validation * count))) if validation else 0
        kept += order[:aside]
        train += order[aside:count]
    return sorted(train), sorted(kept)


def choose_grouped(
    videos: Sequence[str], share: float, validation: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the labelled examples for training and for validation, by whole videos.

    ``share`` of the videos, rounded, at least one, is used; of those, ``validation`` are kept aside
    as in ``choose_labelled``. Moments of one video are alike, so they are on one side.
    """
    names = sorted(set(videos))
    chosen, aside = choose_labelled([0] * len(names), share, validation, seed)
    used, kept = ({names[place] for place in places} for places in (chosen, aside))
    train = [place for place, name in enumerate(videos) if name in used]
    return train, [place for place, name in enumerate(videos) if name in kept]
