"""The labelled part: stratified, seeded, and its validation part apart from training."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from videossl.downstream.choice import choose_labelled


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=200),
    st.floats(0.01, 1),
    st.floats(0.01, 0.9),
    st.integers(0, 100),
)
def test_each_class_gives_its_share(labels, share, validation, seed):
    train, kept = choose_labelled(labels, share, validation, seed)
    assert not set(train) & set(kept)
    assert len(set(train)) == len(train)
    sizes = Counter(labels)
    trained, aside = (Counter(labels[i] for i in part) for part in (train, kept))
    for label, size in sizes.items():
        assert trained[label] >= 1
        given_ = max(1, round(share * size))
        assert trained[label] + aside[label] == given_
        assert aside[label] >= (given_ > 1)
    assert choose_labelled(labels, share, validation, seed) == (train, kept)


def test_seeds_choose_differently():
    labels = [0] * 50 + [1] * 50
    assert choose_labelled(labels, 0.2, 0.2, 0) != choose_labelled(labels, 0.2, 0.2, 1)
