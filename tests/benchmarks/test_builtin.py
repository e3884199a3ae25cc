"""The picture of the built-in dataset in docs is that of the present code."""

from __future__ import annotations

import cv2
import numpy as np

from support.benchmarks import load


def test_the_picture_is_what_is_drawn_now():
    builtin = load("builtin")
    shown = cv2.cvtColor(cv2.imread(str(builtin.PICTURE)), cv2.COLOR_BGR2RGB)
    drawn = builtin.picture()
    assert shown.shape == drawn.shape
    differences = np.abs(shown.astype(int) - drawn.astype(int))
    assert differences.mean() < 6  # of 255: JPEG, and noise that it leaves out
    moved = np.abs(shown.astype(int) - np.roll(drawn, 3, axis=1).astype(int))
    assert differences.mean() < moved.mean() / 2
