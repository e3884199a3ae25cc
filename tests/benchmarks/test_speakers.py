"""Who is left out of a probe on lips, on features that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from support.benchmarks import load
from videossl.downstream.examples import Examples
from videossl.study.schema import Linear

speakers = load("speakers")
SPEC = Linear(solver="lbfgs", regularization=1.0, iterations=200)
WHO, WORDS, TIMES = 6, 3, 4


@pytest.fixture
def found():
    every = [(s, w, r) for s in range(WHO) for w in range(WORDS) for r in range(TIMES)]
    names = [f"clips/w{w:02}/F{s:02}_w{w:02}_{r:02}.mp4" for s, w, r in every]
    targets = np.array([w for _, w, _ in every])
    return Examples(names, targets, [str(w) for w in range(WORDS)], {"1": ["train"] * len(every)})


def test_groups_are_whole_and_apart(found):
    groups = speakers.groups_of(found.videos, "speaker", 4)
    assert groups == [{"F00", "F01", "F02", "F03"}, {"F04", "F05"}]
    assert speakers.groups_of(found.videos, "repetition", 2) == [{"00", "01"}, {"02", "03"}]


def test_words_that_all_speakers_share_are_told_either_way(found):
    features = np.eye(WORDS, dtype=np.float32)[found.targets]
    for by in ("speaker", "repetition"):
        numbers = np.arange(len(found.videos))
        assert speakers.left_out(features, found, numbers, by, SPEC) == 100


def test_words_that_each_speaker_says_in_a_way_of_their_own(found):
    numbers = np.arange(len(found.videos))
    own = numbers // TIMES  # a dimension per speaker and word
    features = np.eye(WHO * WORDS, dtype=np.float32)[own]
    assert speakers.left_out(features, found, numbers, "repetition", SPEC) == 100
    assert speakers.left_out(features, found, numbers, "speaker", SPEC) < 50
